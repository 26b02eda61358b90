"""The contract's form of a number: a whole one is an int, so that both databases give back what was stored."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def plain(number: int | float) -> int | float:
    """A finite number in the contract's form.

    ⚑ PostgreSQL's jsonb knows neither 1e+16 nor -0.0: it gives back 10000000000000000 and 0. What was agreed would
    differ from what is read for ever, and look like an edit. The digits are those that name the floating number.
    """
    if isinstance(number, float) and number.is_integer():
        return int(Decimal(repr(number)))
    return number


def all_plain(value: Any) -> Any:
    """A JSON value with all its numbers in that form."""
    if isinstance(value, Mapping):
        return {name: all_plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [all_plain(one) for one in value]
    return plain(value) if isinstance(value, float) else value
