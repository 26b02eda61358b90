"""Tags and filters of our pages: icons, badges, side chips, times, differences, small charts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms, template
from django.conf import settings
from django.template.context import Context
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from connections import access
from connections.pauses import Standstill
from mappings import schedules
from mappings.models import Mapping
from sync import standing
from sync.models import Conflict
from sync.views import _schema
from syncadmin import diffs

register = template.Library()

# Icon per meaning: a state is never told by colour alone.
MEANING_ICONS = {"ok": "check", "warn": "warn", "bad": "xc", "info": "clock", "acc": "spark", "": ""}
NOTICE_ICONS = {"ok": "okc", "warn": "warn", "bad": "xc", "info": "clock"}
MESSAGE_KINDS = {"debug": "info", "info": "info", "success": "ok", "warning": "warn", "error": "bad"}
SIDES = {"left": ("L", "left side"), "right": ("R", "right side"), "base": ("B", "last agreed")}

# (kind, icon, word) of every state a model can be in; the word is what pages say.
STATES: dict[str, tuple[str, str, str]] = {
    "connection.ok": ("ok", "check", "Working"),
    "connection.untested": ("info", "clock", "Not tested"),
    "connection.paused": ("", "pause", "Paused"),
    "connection.sign_in": ("bad", "lock", "Sign in again"),
    "connection.unreachable": ("warn", "plug", "No answer"),
    "connection.account_changed": ("bad", "user", "Account changed"),
    "mapping.draft": ("info", "edit", "Draft"),
    "mapping.active": ("ok", "check", "Active"),
    "mapping.paused": ("", "pause", "Paused"),
    "run.running": ("info", "run", "Running"),
    "run.done": ("ok", "check", "Done"),
    "run.approval": ("warn", "hand", "Waits for approval"),
    "run.halted": ("bad", "hand", "Halted"),
    "run.failed": ("bad", "xc", "Failed"),
    "run.lost": ("", "redo", "Taken over"),
    "operation.planned": ("info", "clock", "Planned"),
    "operation.sending": ("info", "run", "Being sent"),
    "operation.confirmed": ("ok", "check", "Written"),
    "operation.refused": ("bad", "xc", "Refused"),
    "operation.superseded": ("", "redo", "Planned again"),
    "operation.uncertain": ("warn", "help", "Not answered"),
    "operation.dead": ("bad", "stop", "Gave up"),
    "operation.late": ("warn", "clock", "Arrived late"),
    "link.active": ("ok", "link", "Linked"),
    "link.creating": ("info", "clock", "Being created"),
    "link.held": ("warn", "hand", "Held"),
    "link.unlinked": ("", "fork", "Unlinked"),
    "link.deleted": ("", "trash", "Deleted"),
    "conflict.open": ("warn", "inbox", "Open"),
    "conflict.resolving": ("info", "clock", "Being settled"),
    "conflict.closed": ("ok", "check", "Settled"),
    "kind.field": ("warn", "swap", "Both sides changed"),
    "kind.delete_update": ("bad", "trash", "Deleted and edited"),
    "kind.ambiguous_match": ("warn", "link", "Which one?"),
    "kind.duplicate": ("warn", "copy", "Twice there"),
    "kind.refused": ("bad", "xc", "Refused"),
    "kind.unmapped": ("warn", "map", "No value over there"),
    "kind.schema": ("warn", "table", "The field changed"),
    "kind.uncertain_create": ("warn", "help", "Created or not?"),
    "kind.clobber": ("bad", "warn", "We overwrote an edit"),
    "kind.oscillation": ("", "swap", "Flips back and forth"),
    "verification.waiting": ("info", "clock", "Waiting"),
    "verification.running": ("info", "run", "Comparing"),
    "verification.done": ("ok", "check", "Done"),
    "verification.stopped": ("", "stop", "Stopped"),
    "verification.failed": ("bad", "xc", "Failed"),
    "difference.drift": ("warn", "fork", "Drift"),
    "difference.agreed": ("info", "hand", "May differ"),
    "difference.missing": ("bad", "trash", "Not there"),
    "delivery.waiting": ("info", "clock", "Just arrived"),
    "delivery.accepted": ("ok", "check", "Accepted"),
    "delivery.hint": ("warn", "help", "Taken as a hint"),
    "delivery.duplicate": ("", "copy", "Came again"),
    "delivery.no_record": ("", "wave", "Names no record"),
    "delivery.other_type": ("", "table", "Not synced here"),
    "delivery.no_mapping": ("", "map", "No mapping"),
    "delivery.refused": ("bad", "lock", "Refused"),
    "delivery.unreadable": ("bad", "xc", "Not readable"),
    "delivery.too_large": ("bad", "stop", "Too large"),
    "delivery.failed": ("bad", "warn", "Not taken in"),
}


@register.simple_tag
def stands_still(mapping: Any) -> Standstill | None:
    """What a person or the clock stopped of a mapping and its two connections, or None."""
    return standing.stands_still(mapping, timezone.now())


@dataclass(frozen=True, slots=True)
class When:
    """A schedule for people. `runs`: the next times it begins to run; `going`: a turn goes on."""

    kind: str
    words: str
    runs: list[str]
    zone: str
    going: bool


@register.simple_tag
def schedule(mapping: Any, of: str = "published") -> When:
    """When a mapping runs by its published version, or by its "draft"."""
    state = getattr(mapping, "run_state", None)
    plan = mapping.schedule if of == "draft" else mapping.published.document.get("schedule", {})
    turn = state if of != "draft" else None
    begins = turn.next_turn_at if turn is not None else None
    runs = schedules.next_runs(plan, timezone.now(), settings.TIME_ZONE, begins)
    shown = [f"{timezone.localtime(run):%a %-d %b, %H:%M}" for run in runs]
    going = turn is not None and turn.turn_at is not None
    return When(schedules.kind_of(plan), schedules.words(plan), shown, settings.TIME_ZONE, going)


@register.simple_tag
def icon(name: str, size: str = "") -> SafeString:
    """An icon of icons.svg, hidden from screen readers. size: "" 16 px, "s" 14, "l" 20."""
    return format_html(
        '<svg class="i {}" aria-hidden="true"><use href="{}#{}"/></svg>', size, static("syncadmin/icons.svg"), name
    )


@register.simple_tag
def badge(kind: str, word: str, icon_name: str | None = None) -> SafeString:
    """A state: icon and word. kind: ok, warn, bad, info, acc or ""."""
    name = MEANING_ICONS.get(kind, "") if icon_name is None else icon_name
    return format_html('<span class="b {}">{}{}</span>', kind, icon(name) if name else "", word)


@register.simple_tag
def state(area: str, value: str, word: str = "") -> SafeString:
    """Badge of a model's state: `{% state "run" run.state %}`, `{% state "kind" conflict.kind %}`."""
    kind, name, said = STATES[f"{area}.{value}"]
    return badge(kind, word or said, name)


@register.simple_tag
def side(which: str) -> SafeString:
    """L, R or B chip with a spoken name; which: "left", "right" or "base"."""
    letter, spoken = SIDES[which]
    return format_html(
        '<span class="sd {0}" title="{1}"><span aria-hidden="true">{0}</span><span class="sr">{1} </span></span>',
        letter,
        spoken,
    )


@register.inclusion_tag("_notice.html")
def notice(
    kind: str,
    what: str,
    meaning: str = "",
    todo: str = "",
    action_url: str = "",
    action_label: str = "",
    alert: bool = False,
) -> dict[str, Any]:
    """A trouble in three parts; `what` may hold all three, divided by " · ". `alert`: it just went wrong."""
    first, *others = str(what).split(" · ")
    kind = MESSAGE_KINDS.get(kind, kind)
    return {
        "kind": kind,
        "what": first,
        "meaning": meaning or (others[0] if others else ""),
        "todo": todo or " ".join(others[1:]),
        "action_url": action_url,
        "action_label": action_label,
        "alert": alert and kind in ("bad", "warn"),
        "icon_name": NOTICE_ICONS.get(kind, "clock"),
    }


# More notices than this hide the page; the queue has them all.
MOST_STANDSTILLS = 3


@register.simple_tag
def standstills(mapping: Mapping) -> list[dict[str, str]]:
    """What of a mapping stands still because a field changed: title, what, todo and url of the first entries."""
    entries = Conflict.objects.filter(mapping=mapping, link=None, kind=Conflict.Kind.SCHEMA, state=Conflict.State.OPEN)
    return [
        {
            "title": _schema.title(one),
            "what": _schema.what(one),
            "todo": _schema.changes(one)[0].todo,
            "url": reverse("conflict", args=[one.pk]),
        }
        for one in entries.order_by("pk")[:MOST_STANDSTILLS]
    ]


@register.simple_tag(takes_context=True)
def can(context: Context, action: str, mapping: Any = None) -> bool:
    """Whether the viewer may do `action` on `mapping`: `{% can "review.settle" mapping as ok %}{% if ok %}`."""
    request = context.get("request")
    return request is not None and access.can(request.user, action, mapping)


@register.simple_tag(takes_context=True)
def query(context: Context, **changes: Any) -> str:
    """The address's query with some parameters set; None removes one."""
    parameters = context["request"].GET.copy()
    for name, value in changes.items():
        if value is None:
            parameters.pop(name, None)
        else:
            parameters[name] = str(value)
    return "?" + parameters.urlencode()


# Times ---------------------------------------------------------------------------------------------------------


def as_datetime(value: Any) -> datetime | None:
    """A datetime of ours or a system's ISO text; None if it is neither."""
    if isinstance(value, str):
        value = parse_datetime(value)
    if isinstance(value, datetime):
        return value if timezone.is_aware(value) else timezone.make_aware(value, timezone.get_default_timezone())
    return None


def spoken_duration(seconds: float) -> str:
    """ "42 s", "12 min", "3 h 12 min", "5 days"."""
    seconds = max(0, int(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min"
    if seconds < 48 * 3600:
        minutes = seconds % 3600 // 60
        return f"{seconds // 3600} h" + (f" {minutes} min" if minutes else "")
    return f"{seconds // 86400} days"


@register.filter
def duration(value: Any) -> str:
    """Seconds (or a timedelta) as people say it."""
    return "" if value is None else spoken_duration(getattr(value, "total_seconds", lambda: value)())


@register.filter
def ago(value: Any) -> SafeString | str:
    """How long ago, as a <time> whose title is the exact moment."""
    moment = as_datetime(value)
    if moment is None:
        return ""
    seconds = (timezone.now() - moment).total_seconds()
    text = f"in {spoken_duration(-seconds)}" if seconds < -1 else f"{spoken_duration(seconds)} ago"
    return _time(moment, text)


@register.filter
def age(value: Any) -> SafeString | str:
    """How old: `ago` without the word."""
    moment = as_datetime(value)
    return "" if moment is None else _time(moment, spoken_duration((timezone.now() - moment).total_seconds()))


@register.filter
def at(value: Any) -> SafeString | str:
    """The moment: the time alone for today, else with the day."""
    moment = as_datetime(value)
    if moment is None:
        return ""
    local, now = timezone.localtime(moment), timezone.localtime()
    if local.date() == now.date():
        text = local.strftime("%H:%M:%S")
    elif local.year == now.year:
        text = f"{local.day} {local:%b %H:%M}"
    else:
        text = f"{local.day} {local:%b %Y %H:%M}"
    return _time(moment, text)


def _time(moment: datetime, text: str) -> SafeString:
    exact = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', moment.isoformat(), exact.strftime("%Y-%m-%d %H:%M:%S %Z"), text
    )


# Values and differences ----------------------------------------------------------------------------------------


def plain(value: Any) -> str:
    """A JSON value as text: documents are reduced to their words."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return document_text(value) if value.get("type") == "doc" else json.dumps(value, ensure_ascii=False, indent=2)
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value)
    return str(value)


def document_text(node: dict[str, Any]) -> str:
    """The words of a Jira document, one line a block: enough to compare and to show, not to write back."""
    if "text" in node:
        return str(node["text"])
    if node.get("type") == "hardBreak":
        return "\n"
    attributes = node.get("attrs") or {}
    own = str(attributes.get("text") or attributes.get("shortName") or attributes.get("url") or "")
    children = [document_text(child) for child in node.get("content") or ()]
    blocks = {"doc", "bulletList", "orderedList", "taskList", "table", "tableRow", "panel", "blockquote", "expand"}
    return own + ("\n" if node.get("type") in blocks else "").join(children)


@register.filter
def value(given: Any) -> SafeString:
    """A value to read: tags for a set, "empty" for nothing, text otherwise (always escaped)."""
    if given is None or given == "" or given == []:
        return mark_safe('<span class="dim">empty</span>')
    if isinstance(given, list):
        return format_html_join(" ", '<span class="tag">{}</span>', ((plain(item),) for item in given))
    return format_html('<span class="val">{}</span>', plain(given))


@register.simple_tag
def word_diff(before: Any, after: Any) -> SafeString:
    """Text with removed words struck and added words underlined."""
    parts = diffs.words(plain(before), plain(after))
    return format_html('<span class="diff">{}</span>', _marked(parts))


def _marked(parts: Sequence[tuple[str, str]]) -> SafeString:
    element = {"same": "{}", "added": "<ins>{}</ins>", "removed": "<del>{}</del>"}
    return mark_safe("".join(format_html(element[change], text) for change, text in parts))  # noqa: S308  escaped above


@register.simple_tag
def set_diff(before: Any, after: Any) -> SafeString:
    """A set's values as tags, added ones with +, removed ones with −."""
    element = {"same": '<span class="tag">{}</span>', "added": '<ins class="tag">{}</ins>'}
    element["removed"] = '<del class="tag">{}</del>'
    parts = diffs.sets([plain(item) for item in before or ()], [plain(item) for item in after or ()])
    return mark_safe(" ".join(format_html(element[change], text) for change, text in parts))  # noqa: S308


@register.simple_tag
def line_diff(before: Any, after: Any) -> SafeString:
    """Before and after, line by line, with + and −; unchanged stretches are shortened."""
    rows = []
    for change, text in diffs.lines(plain(before), plain(after)):
        sign, name = {"same": ("", ""), "added": ("+", "a"), "removed": ("−", "d"), "skipped": ("…", "")}[change]
        rows.append((name, sign, name, text))
    return format_html(
        '<div class="ba">{}</div>', format_html_join("", '<span class="{}">{}</span><span class="{}">{}</span>', rows)
    )


# Forms ---------------------------------------------------------------------------------------------------------


@register.filter
def is_checkbox(field: forms.BoundField) -> bool:
    return isinstance(field.field.widget, forms.CheckboxInput)


@register.filter
def is_group(field: forms.BoundField) -> bool:
    """Whether the control is several controls: a fieldset names them together."""
    return isinstance(field.field.widget, forms.RadioSelect | forms.CheckboxSelectMultiple)


# Small charts --------------------------------------------------------------------------------------------------


@register.simple_tag
def meter(part: float, whole: float, kind: str = "a") -> SafeString:
    """A bar filled to part of whole. kind: a accent, ok, w warning, b bad. The figure stands beside it in words."""
    percent = 0 if not whole else max(0.0, min(100.0, 100.0 * part / whole))
    return format_html(
        '<svg class="meter" aria-hidden="true"><rect width="{}%" height="100%" class="f{}"/></svg>',
        f"{percent:.1f}",
        kind,
    )


@register.simple_tag
def spark(numbers: Sequence[float], name: str, kind: str = "a") -> SafeString:
    """A line of numbers, oldest first, 240 × 32; `name` is the sentence a screen reader speaks."""
    top = max([*numbers, 1])
    step = 240 / max(1, len(numbers) - 1)
    points = " ".join(f"{index * step:.1f},{30 - 26 * number / top:.1f}" for index, number in enumerate(numbers))
    return format_html(
        '<svg class="spark" viewBox="0 0 240 32" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<polyline class="ln s{}" points="{}"/></svg>',
        name,
        kind,
        points,
    )
