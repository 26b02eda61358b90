"""What the read-back of a confirmed write says of the written field: as sent, kept in part, or edited since. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from math import isfinite
from typing import Any

from mappings.compiled import CompiledRule
from mappings.transforms.base import CannotExpress
from sync.merge import MISSING, OTHER


@dataclass(frozen=True, slots=True)
class WrittenBase:
    """The written side's base after a confirmed write."""

    base: Any
    cut_short: bool = False  # the system kept only a part of it: parked, a person decides
    edited: bool = False  # the difference is the written side's edit, whoever made it


def base_after_write(rule: CompiledRule, side: str, sent: Any, read_back: Any, source: Any) -> WrittenBase:
    """⚑ The new base of a field we wrote.

    If the read-back is what we sent, or means to the source what it already holds, the read-back is the base;
    otherwise the base is what we sent, and the difference is seen as an edit of the written side.
    """
    if read_back == sent:
        return WrittenBase(read_back)
    try:
        if source is not MISSING and rule.lens.put(OTHER[side], read_back, source, None) == source:
            return WrittenBase(read_back)
    except CannotExpress:
        pass
    if _cut_short(sent, read_back):
        return WrittenBase(read_back, cut_short=True)
    return WrittenBase(sent, edited=True)


def _cut_short(sent: Any, read_back: Any) -> bool:
    """Whether the system kept only a part: the beginning of a text, though trimmed white space is not that, or fewer
    decimals of a number."""
    if _is_number(sent) and _is_number(read_back):
        return _fewer_decimals(Decimal(str(sent)), Decimal(str(read_back)))
    if not isinstance(sent, str) or not isinstance(read_back, str):
        return False
    kept = read_back.rstrip("…. \n")
    return bool(kept) and len(read_back) < len(sent.rstrip()) and sent.startswith(kept)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _fewer_decimals(sent: Decimal, kept: Decimal) -> bool:
    """Rounded to the nearest, or cut off."""
    places = _decimals(kept)
    if _decimals(sent) <= places:
        return False
    nearest = abs(sent - kept) * 2 <= Decimal(1).scaleb(-places)
    return nearest or kept == sent.quantize(Decimal(1).scaleb(-places), ROUND_DOWN)


def _decimals(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    return max(0, -int(exponent))
