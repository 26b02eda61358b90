"""Plain values: same value, value map, yes or no, number, shortened text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from mappings.transforms.base import CannotExpress, FieldSpec, Lens, Put, Transform
from mappings.transforms.table import is_empty, value_table
from mappings.transforms.times import build_date_time

KINDS = ("text", "option", "set", "person", "number", "boolean", "date", "datetime", "reference")
TEXT_LIKE = ("text", "option", "reference")
OTHER = {"left": "right", "right": "left"}
ELLIPSIS = "…"
MAX_PLACES = 12  # beyond that floating point numbers have nothing to say

Entries = list[dict[str, Any]]


def both_ways(*kinds: tuple[str, str]) -> frozenset[tuple[str, str]]:
    return frozenset(kinds) | frozenset((right, left) for left, right in kinds)


# Same value ---------------------------------------------------------------------------------------------------


def tidy(value: Any) -> Any:
    """The value as people mean it: systems trim the end of a text and write newlines in their own way."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n").rstrip() or None
    return value


def _same(source: Any, old: Any, base: Any) -> Any:
    if tidy(source) == tidy(old):
        return old
    return source.replace("\r\n", "\n").replace("\r", "\n") if isinstance(source, str) else source


def build_same(params: Mapping[str, Any], left: FieldSpec, right: FieldSpec, entries: Entries) -> Lens:
    if left.kind == right.kind == "datetime":
        return build_date_time({}, left, right, [])  # one moment, though one side keeps it less exactly
    return Lens(_same, _same)


SAME = Transform(
    name="same",
    label="Same value",
    help="The value is carried over unchanged.",
    build=build_same,
    kinds=frozenset((kind, kind) for kind in KINDS) | frozenset((a, b) for a in TEXT_LIKE for b in TEXT_LIKE),
)


# Value map ----------------------------------------------------------------------------------------------------


def build_value_map(params: Mapping[str, Any], left: FieldSpec, right: FieldSpec, entries: Entries) -> Lens:
    if not entries:
        raise ValueError(f"The value map of {left.label} ↔ {right.label} has no entries.")
    table = value_table(entries)
    name = params.get("map") or f"{left.label} ↔ {right.label}"

    def to(side: str) -> Put:
        def put(source: Any, old: Any, base: Any) -> Any:
            try:
                return table.carry(side, source, old)
            except LookupError:
                raise CannotExpress("value_not_in_map", value=source, map=name) from None

        return put

    return Lens(to("right"), to("left"))


_MAPPABLE = ("text", "option", "number", "boolean", "person", "reference")

VALUE_MAP = Transform(
    name="value_map",
    label="Value map",
    help="Each value has its counterpart in a list; several may share one.",
    build=build_value_map,
    kinds=frozenset((a, b) for a in _MAPPABLE for b in _MAPPABLE),
    needs_value_map=True,
)


# Yes or no ----------------------------------------------------------------------------------------------------


def build_boolean(params: Mapping[str, Any], left: FieldSpec, right: FieldSpec, entries: Entries) -> Lens:
    """Entries may say what yes and no are called; a checkbox that is not ticked may be empty or no."""
    if not entries:
        entries = [
            {"left": True, "right": True},
            {"left": False, "right": False},
            {"left": False, "right": None},
            {"left": None, "right": False},
            {"left": None, "right": None},
        ]
        words = {True: params.get("yes") or "Yes", False: params.get("no") or "No"}
        for side, spec in (("left", left), ("right", right)):
            if spec.kind != "boolean":
                for entry in entries:
                    entry[side] = words.get(entry[side])
    return build_value_map(params, left, right, entries)


BOOLEAN = Transform(
    name="boolean",
    label="Yes or no",
    help="A checkbox, or the two words that stand for it.",
    build=build_boolean,
    kinds=frozenset({("boolean", "boolean")}) | both_ways(("boolean", "option"), ("boolean", "text")),
    takes_value_map=True,
    params=(("yes", "Word for yes"), ("no", "Word for no")),
)


# Number -------------------------------------------------------------------------------------------------------


def _decimal(value: Any) -> Decimal | None:
    """Raises CannotExpress for what is no finite number."""
    if is_empty(value):
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite():
        raise CannotExpress("not_a_number", value=value)
    return number


# What people type; a float keeps about 15 digits, and no number of people's needs so many or so high a power.
_TYPED = re.compile(r"[+-]?(\d{1,40}\.?\d{0,40}|\.\d{1,40})([eE][+-]?\d{1,2})?", re.ASCII)


def typed_number(text: str) -> int | float:
    """The number that a person typed, to the last digit. Raises ValueError with a sentence."""
    if not _TYPED.fullmatch(text):
        raise ValueError(f"“{text}” is not a number.")
    exact = Decimal(text)
    if exact == exact.to_integral_value():
        return int(exact)
    number = float(exact)
    if Decimal(repr(number)) != exact:
        raise ValueError(f"“{text}” has more digits than are kept; write it as {number!r}.")
    return number


def _plain_number(number: Decimal, kind: str) -> Any:
    whole = number == number.to_integral_value()
    if kind == "text":
        return format(number.to_integral_value() if whole else number.normalize(), "f")
    return int(number) if whole else float(number)


def build_number(params: Mapping[str, Any], left: FieldSpec, right: FieldSpec, entries: Entries) -> Lens:
    """`places`: both sides say the same while they agree to so many decimals; `rounded_side` keeps no more."""
    places, rounded = params.get("places"), params.get("rounded_side") or "right"
    if rounded not in ("left", "right"):
        raise ValueError(f"The rounded side of {left.label} ↔ {right.label} must be left or right.")
    step = None
    if not is_empty(places):
        if not str(places).isdecimal() or int(str(places)) > MAX_PLACES:
            raise ValueError(f"The decimal places of {left.label} ↔ {right.label} must be 0 to {MAX_PLACES}.")
        step = Decimal(1).scaleb(-int(str(places)))

    def round_(number: Decimal | None) -> Decimal | None:
        if number is None or step is None:
            return number
        try:
            return number.quantize(step, ROUND_HALF_UP)
        except InvalidOperation:  # more digits than the arithmetic has: nothing left to round
            return number

    def to(side: str, kind: str) -> Put:
        def put(source: Any, old: Any, base: Any) -> Any:
            number = _decimal(source)
            try:
                if round_(_decimal(old)) == round_(number):
                    return old
            except CannotExpress:
                pass  # what is there is no number, so it says nothing that must be kept
            if number is None:
                return None
            kept = round_(number) if side == rounded else number
            assert kept is not None
            return _plain_number(kept, kind)

        return put

    lossy = frozenset({f"to_{rounded}"}) if step is not None else frozenset()
    return Lens(to("right", right.kind), to("left", left.kind), lossy)


NUMBER = Transform(
    name="number",
    label="Number",
    help="A number; one side may keep fewer decimals.",
    build=build_number,
    kinds=frozenset({("number", "number")}) | both_ways(("number", "text")),
    params=(("places", "Decimal places"), ("rounded_side", "Side that is rounded (left or right)")),
)


# Shortened text -----------------------------------------------------------------------------------------------


def shortened(text: str, limit: int | None) -> str:
    """The text, cut to `limit` characters with an ellipsis where it is longer."""
    if limit is None or len(text) <= limit:
        return text
    return text[: limit - len(ELLIPSIS)].rstrip() + ELLIPSIS


def build_text_limited(params: Mapping[str, Any], left: FieldSpec, right: FieldSpec, entries: Entries) -> Lens:
    limits = {side: spec.max_length for side, spec in (("left", left), ("right", right))}
    for side in limits:
        given = params.get(f"{side}_limit")
        if not is_empty(given):
            if not str(given).isdecimal() or int(str(given)) < 1:
                raise ValueError(f"The length on the {side} of {left.label} ↔ {right.label} must be a number above 0.")
            limits[side] = int(str(given))

    def to(side: str) -> Put:
        mine, theirs = limits[side], limits[OTHER[side]]

        def put(source: Any, old: Any, base: Any) -> Any:
            wanted, there = tidy(source), tidy(old)
            if there == wanted or (there is not None and wanted == tidy(shortened(there, theirs))):
                return old
            if there is not None and theirs is not None and len(there) > theirs:
                raise CannotExpress("edited_shortened_copy", value=source)
            if wanted is None:
                return None
            # The long text is gone, yet what lies here is still the copy that was cut from it.
            if wanted.endswith(ELLIPSIS) and _was_cut(tidy(base), theirs):
                raise CannotExpress("edited_shortened_copy", value=source)
            return shortened(wanted, mine)

        return put

    lossy = frozenset(f"to_{side}" for side in limits if _tighter(limits[side], limits[OTHER[side]]))
    return Lens(to("right"), to("left"), lossy)


def _was_cut(base: Any, limit: int | None) -> bool:
    # Cutting drops blanks before the ellipsis, so a cut text may be somewhat shorter than the limit.
    return limit is not None and isinstance(base, str) and base.endswith(ELLIPSIS) and len(base) > limit // 2


def _tighter(limit: int | None, other: int | None) -> bool:
    return limit is not None and (other is None or limit < other)


TEXT_LIMITED = Transform(
    name="text_limited",
    label="Shortened text",
    help="The side with less room gets a shortened copy; an edit of that copy goes to review.",
    build=build_text_limited,
    kinds=frozenset({("text", "text")}),
    params=(("left_limit", "Most characters on the left"), ("right_limit", "Most characters on the right")),
)
