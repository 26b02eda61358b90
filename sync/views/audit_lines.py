"""The audit log as people read it: filters of the list, each entry as a line, and what the proof covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Exists, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone

from connections.access import mappings_for
from mappings.models import Mapping
from sync.models import AuditEntry
from sync.views._changes import Shown, changes_of
from sync.wording import sentence
from syncadmin import filters
from syncadmin.filters import Filter

# What an entry's action is called, and its icon.
ACTIONS: dict[str, tuple[str, str]] = {
    "write": ("Written", "edit"),
    "create": ("Created", "plus"),
    "delete": ("Deleted", "trash"),
    "link": ("Linked", "link"),
    "unlink": ("Unlinked", "fork"),
    "relink": ("Linked again", "link"),
    "agree": ("Agreed", "okc"),
    "conflict": ("Conflict opened", "inbox"),
    "conflict_closed": ("Conflict closed itself", "check"),
    "resolve": ("Conflict settled", "check"),
    "ask": ("Asked for", "hand"),
    "retry": ("Tried again", "redo"),
    "ignore": ("Failure ignored", "hand"),
    "heed": ("Failure listed again", "inbox"),
    "instruction": ("Not applied", "undo"),
    "deletion": ("Deletion seen", "trash"),
    "refused": ("Refused", "xc"),
    "unclear": ("Not known", "warn"),
    "not_written": ("Not written", "redo"),
    "brake": ("Halted by brake", "hand"),
    "restored": ("Restored", "redo"),
    "catch_up": ("Compared completely", "redo"),
    "approve": ("Approved", "check"),
    "release": ("Brake released", "warn"),
    "hold": ("Records held", "hand"),
    "include": ("Record included again", "redo"),
    "start": ("Run started", "run"),
    "look": ("Fields read again", "redo"),
    "publish": ("Version published", "up"),
    "config": ("Set up", "gear"),
    "test": ("Connection tested", "plug"),
    "users": ("Users and roles", "users"),
    "login": ("Log-in", "user"),
    "denied": ("Not allowed", "lock"),
    "verification": ("Verification", "search"),
    "verify": ("Log verified", "shield"),
    "export": ("Log exported", "dl"),
}
SPANS: dict[str, tuple[str, timedelta]] = {
    "1h": ("last hour", timedelta(hours=1)),
    "24h": ("last 24 hours", timedelta(hours=24)),
    "7d": ("last 7 days", timedelta(days=7)),
    "30d": ("last 30 days", timedelta(days=30)),
}
SYSTEM = "SyncAdmin"
# Keys follow time but for transactions that overlap, and these take no longer.
UNORDERED = timedelta(hours=1)
# Counted at most: "more than 100" is enough to know where to look.
MOST_COUNTED = 100
# Names offered while one types; more are found by typing.
MOST_NAMES = 100


@dataclass(frozen=True, slots=True)
class Line:
    """One entry. `joined`: "first", "more" or "last" of neighbours that one action wrote, or ""."""

    entry: AuditEntry
    word: str
    icon: str
    who: str
    why: str
    changes: list[Shown]
    system: str
    joined: str = ""


@dataclass(frozen=True, slots=True)
class Hiding:
    """A filter that alone hides entries which fit all the others."""

    chip: Filter
    number: int
    more: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """`sealed`: newest sealed entry; `checked`: the entry of the newest check; `waiting`: unsealed ones (bounded)."""

    sealed: AuditEntry | None
    checked: AuditEntry | None
    waiting: int

    @property
    def intact(self) -> bool:
        return bool(self.checked and self.checked.code == "audit_verified")

    @property
    def number(self) -> int:
        """The last number that the newest check proved."""
        return int(self.checked.params.get("number") or 0) if self.checked else 0

    @property
    def newer(self) -> int:
        """Entries sealed since that check."""
        return max(0, (self.sealed.number or 0) - self.number) if self.sealed else 0


def readable_entries(user: Any) -> QuerySet[AuditEntry]:
    """The entries `user` may read: of mappings where a role reads the log; the rest takes such a role everywhere."""
    entries: QuerySet[AuditEntry] = AuditEntry.objects.visible_to(user)
    allowed = mappings_for(user, "audit.read")
    return entries if allowed is None else entries.filter(mapping_id__in=allowed)


def readable_mappings(user: Any) -> list[Mapping]:
    visible = Mapping.objects.visible_to(user)
    allowed = mappings_for(user, "audit.read")
    return list(visible if allowed is None else visible.filter(pk__in=allowed))


# Filters. ------------------------------------------------------------------------------------------------------


def chips_of(request: HttpRequest, mappings: Sequence[Mapping]) -> list[Filter]:
    """All chips of the list, set or not, from the address."""
    names = list(User.objects.order_by("username").values_list("username", flat=True)[:MOST_NAMES])
    record = filters.text(request, "record", "Record", "", "set")
    return [
        filters.choice(request, "time", "Time", "any", [(key, label) for key, (label, _) in SPANS.items()]),
        filters.choice(request, "mapping", "Mapping", "any", [(str(one.pk), one.name) for one in mappings]),
        filters.choice(request, "action", "Action", "any", [(key, word) for key, (word, _) in ACTIONS.items()]),
        filters.text(request, "who", "Who", "anyone", suggestions=[SYSTEM, *names]),
        filters.text(request, "q", "Record is called", "anything"),
        filters.text(request, "from", "From", "", "date"),
        filters.text(request, "to", "To", "", "date"),
        filters.text(request, "request", "Request", "", "set"),
        record,
    ]


def apply(entries: QuerySet[AuditEntry], chips: Sequence[Filter]) -> QuerySet[AuditEntry]:
    """The entries that fit every chip that is set; a value that cannot be read fits nothing."""
    for chip in chips:
        if chip.value:
            entries = entries.filter(_condition(chip.name, chip.value))
    return entries


def _condition(name: str, value: str) -> Q:
    if name == "time":
        return _since(timezone.now() - SPANS[value][1])
    if name == "mapping":
        return Q(mapping_id=int(value))
    if name == "who":
        return Q(actor="", actor_kind=AuditEntry.ActorKind.SYSTEM) if value == SYSTEM else Q(actor=value)
    if name in ("from", "to"):
        return _day(name, value)
    if name == "record":
        return Q(link_id=int(value)) if value.isdecimal() and len(value) < 19 else Q(pk__in=[])
    return {"action": Q(action=value), "q": Q(object_label__icontains=value), "request": Q(request_id=value)}[name]


def _day(name: str, value: str) -> Q:
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return Q(pk__in=[])
    midnight = timezone.make_aware(datetime.combine(day, time.min))
    return _since(midnight) if name == "from" else _until(midnight + timedelta(days=1))


def _since(moment: datetime) -> Q:
    """From then on; the key where that time begins spares reading all that is older."""
    return Q(at__gte=moment, pk__gte=Subquery(_keys_from(moment - UNORDERED)))


def _until(moment: datetime) -> Q:
    """Before then; the key where a later time begins spares reading all that is newer."""
    newest = AuditEntry.objects.order_by("-pk").values("pk")[:1]
    return Q(at__lt=moment, pk__lte=Coalesce(Subquery(_keys_from(moment + UNORDERED)), Subquery(newest)))


def _keys_from(moment: datetime) -> QuerySet[AuditEntry, Any]:
    return AuditEntry.objects.filter(at__gte=moment).order_by("at").values("pk")[:1]


def hiding(entries: QuerySet[AuditEntry], chips: Sequence[Filter], user: Any) -> Hiding | None:
    """Where nothing fits: the filter whose removal alone brings entries back. Two queries, however many filters."""
    others = {
        f"without_{chip.name}": apply(entries, [one for one in chips if one is not chip])
        for chip in chips
        if chip.value
    }
    # Any single row carries the answers; the viewer's own is always there.
    viewer = User.objects.filter(pk=user.pk).annotate(**{name: Exists(rows) for name, rows in others.items()})
    fits = viewer.values(*others).get()
    for chip in chips:
        if fits.get(f"without_{chip.name}"):
            rows = others[f"without_{chip.name}"].values_list("pk", flat=True)
            number = len(rows.order_by("-pk")[: MOST_COUNTED + 1])
            return Hiding(chip, min(number, MOST_COUNTED), number > MOST_COUNTED)
    return None


# Lines. --------------------------------------------------------------------------------------------------------


def line_of(entry: AuditEntry, brief: bool = False, joined: str = "") -> Line:
    word, icon = ACTIONS.get(entry.action, (entry.action.replace("_", " ").capitalize(), "record"))
    return Line(
        entry=entry,
        word=word,
        icon=icon,
        who=entry.actor or SYSTEM,
        why=sentence(entry.code, _told(entry)),
        changes=changes_of(entry.values, entry.side, brief, whole=_is_whole(entry)),
        system=str(entry.params.get("system") or ""),
        joined=joined,
    )


def _told(entry: AuditEntry) -> dict[str, Any]:
    """What the entry's sentence names; a value that it names stands among the entry's values alone."""
    return {"value": entry.values.get("after"), **entry.params} if entry.values else entry.params


def _is_whole(entry: AuditEntry) -> bool:
    """Whether its values are those of a whole record, by label."""
    kept = [one for one in (entry.values or {}).values() if one is not None]
    return bool(entry.link_id and kept) and not entry.field_label and all(isinstance(one, dict) for one in kept)


def lines_of(entries: Sequence[AuditEntry]) -> list[Line]:
    """Lines of a page; neighbours of one request are joined."""
    lines = []
    for index, entry in enumerate(entries):
        same = [
            bool(entry.request_id) and 0 <= other < len(entries) and entries[other].request_id == entry.request_id
            for other in (index - 1, index + 1)
        ]
        joined = {(False, False): "", (False, True): "first", (True, True): "more", (True, False): "last"}[
            (same[0], same[1])
        ]
        lines.append(line_of(entry, brief=True, joined=joined))
    return lines


# Proof. --------------------------------------------------------------------------------------------------------


def proof() -> Proof:
    return Proof(
        sealed=AuditEntry.objects.filter(number__isnull=False).order_by("-number").first(),
        checked=AuditEntry.objects.filter(action="verify").order_by("-pk").first(),
        waiting=len(AuditEntry.objects.filter(number__isnull=True).values_list("pk")[:MOST_COUNTED]),
    )
