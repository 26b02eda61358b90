"""What the home page knows: what needs a person, the figures, and how each mapping does.

Every list goes through `visible_to`. The figures come from the newest operations alone (`MOST_OPERATIONS`, by primary
key), so that the page costs the same with a thousand records and with a million.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Min
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from connections.access import can
from connections.models import Connection
from connections.usage import visible_connections
from mappings.models import Mapping
from sync import failures
from sync.models import AuditEntry, ChangedRecord, Conflict, Link, MappingState, Operation, Verification
from sync.standing import stands_still
from sync.wording import sentence
from syncadmin.charts import percentile
from syncadmin.templatetags.syncadmin_ui import spoken_duration

MOST_OPERATIONS = 10_000  # newest operations looked at: about 50 ms
LATE_SECONDS = 30.0  # a mapping whose p95 is above this is degraded; live edits take about one second

# Name in the address → (length, number of buckets, label of a bucket's start).
RANGES: dict[str, tuple[timedelta, int, str]] = {
    "1h": (timedelta(hours=1), 12, "%H:%M"),
    "24h": (timedelta(hours=24), 24, "%H:%M"),
    "7d": (timedelta(days=7), 28, "%a %-d"),
    "30d": (timedelta(days=30), 30, "%-d %b"),
}


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that waits for a person, with one button."""

    kind: str  # bad or warn
    icon: str
    badge: str
    head: str
    text: str
    url: str
    button: str


@dataclass(slots=True)
class Buckets:
    """Operations of one mapping (or all) over the range, oldest bucket first."""

    to_right: list[int]
    to_left: list[int]
    waits: list[list[float]]  # seconds from decision to confirmation
    refused: int = 0

    @property
    def carried(self) -> int:
        return sum(self.to_right) + sum(self.to_left)

    @property
    def all_waits(self) -> list[float]:
        return [wait for bucket in self.waits for wait in bucket]


@dataclass(slots=True)
class Ledger:
    """The newest operations, sorted into buckets. `cut`: there were more than we looked at."""

    starts: list[datetime]
    total: Buckets
    by_mapping: dict[int, Buckets]
    cut: bool


@dataclass(slots=True)
class Tile:
    mapping: Mapping
    url: str
    kind: str
    icon: str
    word: str
    note: str
    lag: float | None
    carried: int
    per_bucket: list[int]
    conflicts: int
    oldest: datetime | None
    waiting: int
    verified: Verification | None  # the newest one that came to its end


@dataclass(slots=True)
class Overview:
    needs: list[Need]
    tiles: list[Tile]
    ledger: Ledger
    waiting: int
    conflicts: int
    settled: int
    links: int
    causes: list[tuple[str, int, datetime]] = field(default_factory=list)  # (Conflict.kind, number, newest)
    sealed: int | None = None


def link(name: str, *arguments: Any) -> str:
    """The address of a page, or "" where this installation has none of that name."""
    try:
        return reverse(name, args=arguments)
    except NoReverseMatch:
        return ""


def gather(user: Any, range_name: str) -> Overview:
    """Everything the home page shows to `user`."""
    mappings = list(Mapping.objects.visible_to(user).select_related("left_connection", "right_connection", "run_state"))
    ids = [mapping.pk for mapping in mappings]
    ledger = read_ledger(user, range_name)
    open_conflicts = {
        row["mapping_id"]: row
        for row in Conflict.objects.visible_to(user)
        .filter(state=Conflict.State.OPEN)
        .order_by()
        .values("mapping_id")
        .annotate(number=Count("pk"), oldest=Min("opened_at"))
    }
    waiting = dict(
        ChangedRecord.objects.filter(mapping_id__in=ids).values_list("mapping_id").annotate(n=Count("pk")).order_by()
    )
    verified = _verified(ids)
    tiles = [
        _tile(
            mapping,
            ledger,
            open_conflicts.get(mapping.pk, {}),
            waiting.get(mapping.pk, 0),
            verified.get(mapping.pk),
        )
        for mapping in mappings
    ]
    since = ledger.starts[0]
    return Overview(
        needs=_needs(user, mappings, open_conflicts, waiting),
        tiles=tiles,
        ledger=ledger,
        waiting=sum(waiting.values()),
        conflicts=sum(row["number"] for row in open_conflicts.values()),
        settled=Conflict.objects.visible_to(user).filter(state=Conflict.State.CLOSED, closed_at__gte=since).count(),
        links=Link.objects.filter(mapping_id__in=ids, state=Link.State.ACTIVE).count(),
        causes=_causes(user),
        sealed=_sealed() if can(user, "audit.read") else None,
    )


def _causes(user: Any) -> list[tuple[str, int, datetime]]:
    rows = Conflict.objects.visible_to(user).filter(state=Conflict.State.OPEN).order_by()
    found = rows.values_list("kind").annotate(number=Count("pk"), oldest=Min("opened_at"))
    return sorted(found, key=lambda row: -row[1])


def _verified(ids: Sequence[int]) -> dict[int, Verification]:
    """The newest verification of each mapping that looked at all it was to look at."""
    done = Verification.objects.filter(mapping__in=ids, state=Verification.State.DONE).order_by()
    newest = done.values("mapping").annotate(newest=Max("pk")).values("newest")
    return {one.mapping_id: one for one in Verification.objects.filter(pk__in=newest)}


def _sealed() -> int | None:
    newest = AuditEntry.objects.filter(number__isnull=False).order_by("-number").values_list("number", flat=True)
    return newest.first()


# The ledger ----------------------------------------------------------------------------------------------------


def read_ledger(user: Any, range_name: str) -> Ledger:
    """The operations of the range, sorted into its buckets."""
    length, number, _ = RANGES[range_name]
    now = timezone.now()
    start, step = now - length, length / number
    total = _empty(number)
    by_mapping: dict[int, Buckets] = defaultdict(lambda: _empty(number))
    columns = ("mapping_id", "side", "state", "decided_at", "finished_at")
    rows = list(Operation.objects.visible_to(user).order_by("-pk").values_list(*columns)[:MOST_OPERATIONS])
    for mapping_id, side, state, decided, finished in rows:
        if decided < start:
            continue
        index = min(number - 1, int((decided - start) / step))
        for buckets in (total, by_mapping[mapping_id]):
            if state == Operation.State.CONFIRMED:
                (buckets.to_right if side == "right" else buckets.to_left)[index] += 1
                if finished:
                    buckets.waits[index].append((finished - decided).total_seconds())
            elif state in (Operation.State.REFUSED, Operation.State.DEAD):
                buckets.refused += 1
    cut = len(rows) == MOST_OPERATIONS and rows[-1][3] > start
    return Ledger([start + step * i for i in range(number)], total, dict(by_mapping), cut)


def _empty(number: int) -> Buckets:
    return Buckets([0] * number, [0] * number, [[] for _ in range(number)])


# What needs a person -------------------------------------------------------------------------------------------


def _needs(
    user: Any, mappings: Sequence[Mapping], conflicts: dict[int, dict[str, Any]], waiting: dict[int, int]
) -> list[Need]:
    """Worst first: halted mappings, connections, what keeps failing, conflicts."""
    halted = [need for mapping in mappings if (need := _halted(user, mapping))]
    return halted + _connections(user, mappings, waiting) + _failing(mappings) + _conflicts(mappings, conflicts)


def _state(mapping: Mapping) -> MappingState | None:
    return getattr(mapping, "run_state", None)


def _reason(state: MappingState) -> str:
    reason = state.halt_reason or {}
    return sentence(reason.get("code", "halted"), reason.get("params"))


def _halted(user: Any, mapping: Mapping) -> Need | None:
    state = _state(mapping)
    Halt = MappingState.Halt
    if state is None or state.halt not in (Halt.BRAKE, Halt.APPROVAL, Halt.RESTORED):
        return None
    run = mapping.runs.order_by("-pk").first()
    url = link("run", run.pk) if run else link("runs")
    if state.halt == Halt.RESTORED:
        if state.compared_at is None:
            return Need(
                "bad", "redo", "Being compared", f"{mapping}: writes nothing", _reason(state), url, "Look at it"
            )
        head = f"{mapping}: the comparison waits for approval"
        return Need("bad", "hand", "After a restore", head, _reason(state), url, "Look at the numbers")
    if state.halt == MappingState.Halt.APPROVAL:
        return Need(
            "warn",
            "hand",
            "Waits for approval",
            f"{mapping}: the first run shows what it would do",
            "Nothing was written. Look at the matching, then approve it.",
            url,
            "Look and approve",
        )
    return Need(
        "bad", "hand", "Halted by brake", f"{mapping}: a run was stopped", _reason(state), url, "Look and decide"
    )


def _connections(user: Any, mappings: Sequence[Mapping], waiting: dict[int, int]) -> list[Need]:
    State = Connection.State
    needs = []
    shown = visible_connections(user) if can(user, "connections.read") else Connection.objects.none()
    for connection in shown.filter(state__in=(State.SIGN_IN, State.ACCOUNT_CHANGED)):
        used = [m for m in mappings if connection.pk in (m.left_connection_id, m.right_connection_id)]
        waits = sum(waiting.get(mapping.pk, 0) for mapping in used)
        lost = f"Nothing was lost; {waits:,} changes wait." if waits else "Nothing was lost."
        since = f" since {timezone.localtime(connection.state_since):%H:%M}" if connection.state_since else ""
        names = ", ".join(mapping.name for mapping in used)
        where = f"{names}: " if names else ""
        if connection.state == State.SIGN_IN:
            head, badge = f"{where}{connection} no longer accepts our sign-in{since}", "Sign in again"
        else:
            head, badge = f"{where}another account answers for {connection}{since}", "Account changed"
        button = "Sign in" if can(user, "connections.edit") else "Look"
        needs.append(Need("bad", "lock", badge, head, lost, link("connection", connection.pk), button))
    return needs + [_down(one, mappings, waiting) for one in shown.filter(down_since__isnull=False)]


def _down(connection: Connection, mappings: Sequence[Mapping], waiting: dict[int, int]) -> Need:
    """A system that does not answer and is probed: it ends by itself, but somebody may know why."""
    used = [m for m in mappings if connection.pk in (m.left_connection_id, m.right_connection_id)]
    waits = sum(waiting.get(mapping.pk, 0) for mapping in used)
    since = f"{timezone.localtime(connection.down_since):%H:%M}" if connection.down_since else ""
    again = f" The next try is at {timezone.localtime(connection.probe_at):%H:%M:%S}." if connection.probe_at else ""
    noun = "change waits" if waits == 1 else "changes wait"
    text = f"{connection.state_reason} Nothing was lost; {waits:,} {noun}.{again}"
    head = f"{connection} does not answer since {since}"
    return Need("warn", "plug", "No answer", head, text.strip(), link("connection", connection.pk), "Look or try now")


def _failing(mappings: Sequence[Mapping]) -> list[Need]:
    """Writes and records that keep failing; what was refused waits in the review queue and is counted there."""
    numbers: Counter[int] = Counter()
    those = failures.standing().where(mapping__in=[mapping.pk for mapping in mappings]).listed()
    for rows in (those.writes, those.records):
        numbers.update(dict(rows.order_by().values_list("mapping_id").annotate(number=Count("pk"))))
    return [
        Need(
            "bad",
            "stop",
            "Keeps failing",
            f"{mapping}: {numbers[mapping.pk]:,} {'keeps' if numbers[mapping.pk] == 1 else 'keep'} failing",
            "Each is listed with its cause and what to do, and tried again at least every hour. Nothing was lost.",
            link("failures"),
            "See the causes",
        )
        for mapping in mappings
        if numbers[mapping.pk]
    ]


def _conflicts(mappings: Sequence[Mapping], conflicts: dict[int, dict[str, Any]]) -> list[Need]:
    needs = []
    now = timezone.now()
    by_id = {mapping.pk: mapping for mapping in mappings}
    for pk, row in sorted(conflicts.items(), key=lambda item: item[1]["oldest"]):
        number = row["number"]
        age = spoken_duration((now - row["oldest"]).total_seconds())
        needs.append(
            Need(
                "warn",
                "inbox",
                f"{number:,} conflict{'' if number == 1 else 's'}",
                f"{by_id[pk]}: the oldest conflict has waited {age}",
                "Only the fields in conflict wait; everything else of these records flows on.",
                link("review-queue"),
                "Settle them" if number > 1 else "Settle it",
            )
        )
    return needs


# Mappings ------------------------------------------------------------------------------------------------------


def _tile(
    mapping: Mapping, ledger: Ledger, conflicts: dict[str, Any], waiting: int, verified: Verification | None
) -> Tile:
    buckets = ledger.by_mapping.get(mapping.pk) or _empty(len(ledger.starts))
    lag = percentile(buckets.all_waits, 0.95)
    kind, icon, word, note = _health(mapping, lag)
    return Tile(
        mapping=mapping,
        url=link("mapping", mapping.slug),
        kind=kind,
        icon=icon,
        word=word,
        note=note,
        lag=lag,
        carried=buckets.carried,
        per_bucket=[right + left for right, left in zip(buckets.to_right, buckets.to_left, strict=True)],
        conflicts=conflicts.get("number", 0),
        oldest=conflicts.get("oldest"),
        waiting=waiting,
        verified=verified,
    )


def _health(mapping: Mapping, lag: float | None) -> tuple[str, str, str, str]:
    """(kind, icon, word, why): a state without its reason is noise."""
    state = _state(mapping)
    if mapping.state == Mapping.State.DRAFT:
        return "info", "edit", "Draft", "Not published yet; nothing is read or written."
    still = stands_still(mapping, timezone.now())
    if still is not None:
        word = "Paused" if still.kind == "paused" else "In a window"
        return "", "pause", word, " ".join(part for part in (f"{still.head}.", still.why, "Changes wait.") if part)
    if state is not None and state.halt:
        if state.halt == MappingState.Halt.CONNECTION:
            return "bad", "lock", "Needs you", _reason(state)
        return "bad", "hand", "Needs you", _reason(state)
    for connection in (mapping.left_connection, mapping.right_connection):
        if not connection.usable:
            return "bad", "lock", "Needs you", f"{connection}: {connection.get_state_display()}. Changes wait."
        if connection.down_since is not None:
            since = timezone.localtime(connection.down_since)
            return "warn", "plug", "Degraded", f"{connection} does not answer since {since:%H:%M}. Changes wait."
        if connection.retry_after and connection.retry_after > timezone.now():
            until = timezone.localtime(connection.retry_after)
            return "warn", "warn", "Degraded", f"{connection} asked us to slow down until {until:%H:%M:%S}."
        if connection.state == Connection.State.UNREACHABLE:
            return "warn", "plug", "Degraded", f"{connection} does not answer. Changes wait; we try again by ourselves."
    if lag is not None and lag > LATE_SECONDS:
        return "warn", "warn", "Degraded", "Writes take longer than half a minute."
    return "ok", "check", "Fine", ""


def counted_states(tiles: Sequence[Tile]) -> Counter[str]:
    return Counter(tile.word for tile in tiles)
