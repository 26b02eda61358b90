"""What a column has room for: how big and how exact its numbers and times are, and what becomes of blanks.

⚑ A database rounds or cuts some values without a word. Read back, such a value would be somebody's edit and would go
over the one it was made from, so what the column would not tell again as it was given is refused before it is written.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mssql, mysql, oracle

SINGLE, DOUBLE = "single", "double"
SECOND = 1_000_000  # in microseconds, as all steps of times here
MINUTE = 60 * SECOND
_SIGNIFICANT = 9  # digits that tell any two numbers of single precision apart


@dataclass(frozen=True)
class Room:
    """least, most: numbers, both included. places: decimal places, below 0 where tens are rounded too. binary: SINGLE
    or DOUBLE where numbers, or those in its JSON, are floating. whole_bits: whole numbers of so many bits are exact
    although others are floating. step: microseconds between two times. zoned: times of day have an offset. length:
    characters of an item of a list. padded: blanks at the end do not count.
    """

    least: Decimal | None = None
    most: Decimal | None = None
    places: int | None = None
    binary: str = ""
    whole_bits: int = 0
    step: int = 1
    zoned: bool = False
    length: int | None = None
    padded: bool = False

    def check(self, number: Decimal) -> None:
        """Raises ValueError, with words for people, on a number that would be kept as another one."""
        if self.places is not None and number and _places(number) > self.places:
            raise ValueError(self._too_exact())
        if (self.least is not None and number < self.least) or (self.most is not None and number > self.most):
            raise ValueError(f"is not between {self.least} and {self.most}, as this column is declared")
        if self.binary and not self._exact_whole(number) and Decimal(repr(self._floating(number))) != number:
            raise ValueError(f"is no number that a column of {self.binary} precision keeps exactly")

    def floored(self, at: datetime) -> datetime:
        """The moment as the column keeps it: as exact, and never rounded up to one that is still to come."""
        if self.step == MINUTE and (at.second or at.microsecond):
            raise ValueError("has seconds, which this column does not keep")
        return at.replace(microsecond=at.microsecond - at.microsecond % min(self.step, SECOND))

    def time_of_day(self, at: time) -> time:
        kept = at.replace(microsecond=at.microsecond - at.microsecond % min(self.step, SECOND))
        return kept.replace(tzinfo=(at.tzinfo or UTC) if self.zoned else None)

    def _too_exact(self) -> str:
        if self.places is None or self.places < 0:
            return "is more exact than this column keeps"
        return f"has more than {self.places} decimal places" if self.places else "is no whole number"

    def _exact_whole(self, number: Decimal) -> bool:
        return (
            bool(self.whole_bits) and number == number.to_integral_value() and abs(number) < 2 ** (self.whole_bits - 1)
        )

    def _floating(self, number: Decimal) -> float:
        found = float(number)
        return shortest_single(found) if self.binary == SINGLE else found


def shortest_single(number: float) -> float:
    """The number of single precision next to `number`, by the fewest digits that name it; as databases print it."""
    kept = _single(number)
    told = (float(f"{kept:.{digits}g}") for digits in range(1, _SIGNIFICANT + 1))
    return next((one for one in told if _single(one) == kept), kept)


def _single(number: float) -> float:
    try:
        [kept] = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError:
        return math.copysign(math.inf, number)
    return float(kept)


def _places(number: Decimal) -> int:
    """How many decimal places a number other than 0 needs; below 0 where it ends with zeros before the point."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)  # numbers here are finite
    text = "".join(map(str, digits))
    return -exponent - (len(text) - len(text.rstrip("0")))


# What the catalogue says. --------------------------------------------------------------------------------------------


def room_of(dialect: str, type_: Any) -> Room:
    """What a column of a type, as SQLAlchemy tells it, has room for."""
    match type_:
        case sa.ARRAY():
            return Room(length=getattr(type_.item_type, "length", None))
        case mysql.JSON():
            return Room(binary=DOUBLE)
        case sa.DateTime() | sa.Time():
            return Room(step=_step(dialect, type_), zoned=bool(getattr(type_, "timezone", False)))
        case sa.Float():
            return _floating_room(dialect, type_)
        case sa.Numeric():
            return _decimal_room(dialect, type_)
        case sa.Integer():
            return _whole_room(dialect, type_)
        case sa.CHAR() | sa.NCHAR():
            return Room(padded=dialect != "sqlite")
    return Room()


def _step(dialect: str, type_: Any) -> int:
    if dialect == "sqlite":
        return 1  # a text
    if isinstance(type_, mssql.SMALLDATETIME):
        return MINUTE
    if isinstance(type_, oracle.DATE) or (dialect == "mssql" and type(type_) is sa.DATETIME):
        return SECOND  # the older type of SQL Server keeps parts of 1/300 s, which nothing compares with
    digits = getattr(type_, "fsp", None) if dialect == "mysql" else getattr(type_, "precision", None)
    digits = (0 if dialect == "mysql" else 6) if digits is None else int(digits)
    # Whole seconds or milliseconds, which are compared with what is more exact; nothing compares with tenths.
    return 1 if digits >= 6 else 1_000 if digits >= 3 else SECOND


def _floating_room(dialect: str, type_: Any) -> Room:
    single = isinstance(type_, sa.REAL) and dialect not in ("sqlite", "mysql")
    single = single or isinstance(type_, mysql.FLOAT | oracle.BINARY_FLOAT)
    declared = _declared(type_) if dialect == "mysql" else Room()  # FLOAT(7, 2)
    return replace(declared, binary=SINGLE if single else DOUBLE)


def _decimal_room(dialect: str, type_: Any) -> Room:
    declared = _declared(type_)
    # SQLite declares a number and keeps a floating one, but for whole numbers that fit a machine's word.
    return replace(declared, binary=DOUBLE, whole_bits=64) if dialect == "sqlite" else declared


def _declared(type_: Any) -> Room:
    precision, scale = getattr(type_, "precision", None), getattr(type_, "scale", None)
    if precision is None or scale is None:
        return Room()
    most = Decimal((0, (9,) * int(precision), -int(scale)))
    least = Decimal(0) if getattr(type_, "unsigned", False) else -most
    return Room(least=least, most=most, places=int(scale))


def _whole_room(dialect: str, type_: Any) -> Room:
    if dialect == "oracle":
        return Room()  # its whole numbers are decimals, and it refuses what does not fit
    bits = 64 if dialect == "sqlite" else next((bits for kind, bits in _BITS if isinstance(type_, kind)), 32)
    if getattr(type_, "unsigned", False) or isinstance(type_, mssql.TINYINT):
        return Room(least=Decimal(0), most=Decimal(2**bits - 1))
    return Room(least=Decimal(-(2 ** (bits - 1))), most=Decimal(2 ** (bits - 1) - 1))


_BITS: tuple[tuple[Any, int], ...] = (
    (mysql.TINYINT, 8),
    (mssql.TINYINT, 8),
    (mysql.MEDIUMINT, 24),
    (sa.SmallInteger, 16),
    (sa.BigInteger, 64),
)


# Blanks at the end. --------------------------------------------------------------------------------------------------


class Padded(sa.types.TypeDecorator[str]):
    """CHAR(n) of PostgreSQL, whose blanks at the end come back with a value and say nothing."""

    impl = sa.CHAR
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return value if value is None else value.rstrip(" ")

    def bind_expression(self, bindparam: sa.BindParameter[str]) -> sa.ColumnElement[str]:
        """As a value of the same type: compared with a text, blanks would count and no index would help."""
        return sa.cast(bindparam, _Bpchar())


class _Bpchar(sa.types.UserDefinedType[str]):
    """CHAR of any length."""

    cache_ok = True

    def get_col_spec(self, **options: Any) -> str:
        return "bpchar"
