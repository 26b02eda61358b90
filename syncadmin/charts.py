"""Numbers to the geometry of small server-drawn SVG charts. Pure: templates draw what this returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# The drawing area inside a 520 × 170 view box, with room for labels at the left and below.
LEFT, RIGHT, TOP, BOTTOM = 40.0, 512.0, 20.0, 140.0
# Grid lines above the axis by the first digit of the top, so that each stands at a round number.
GRID_LINES = {1: 5, 2: 4, 3: 3, 5: 5}


@dataclass(frozen=True, slots=True)
class Tick:
    y: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """Two values stacked: `first` below, `second` above. `label` goes under the bar, "" for none."""

    x: float
    width: float
    first_y: float
    first_height: float
    second_y: float
    second_height: float
    middle: float
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    points: str
    dashed: bool


def nice_top(highest: float) -> float:
    """The smallest of 1, 2, 3, 5 × 10ⁿ that holds `highest`, so that labels are round numbers."""
    step = 1.0
    while True:
        for factor in (1, 2, 3, 5):
            if factor * step >= highest:
                return factor * step
        step *= 10


def ticks(top: float) -> list[Tick]:
    """Grid lines from 0 to `top`; fractions only where the top is so small that they are needed."""
    number = GRID_LINES[int(f"{top:e}"[0])]
    values = [top * step / number for step in range(number + 1)]
    digits = 0 if top >= number else 1
    return [Tick(_y(value, top), f"{value:,.{digits}f}".removesuffix(".0")) for value in values]


def _y(value: float, top: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * min(value, top) / top, 1)


def bars(first: Sequence[int], second: Sequence[int], labels: Sequence[str], top: float) -> list[Bar]:
    """One stacked bar per bucket, oldest first."""
    step = (RIGHT - LEFT) / max(1, len(first))
    width = round(step * 0.72, 1)
    made = []
    for index, (low, high, label) in enumerate(zip(first, second, labels, strict=True)):
        x = round(LEFT + index * step + (step - width) / 2, 1)
        low_y, high_y = _y(low, top), _y(low + high, top)
        made.append(
            Bar(
                x=x,
                width=width,
                first_y=low_y,
                first_height=round(BOTTOM - low_y, 1),
                second_y=high_y,
                second_height=round(low_y - high_y, 1),
                middle=round(x + width / 2, 1),
                label=label,
            )
        )
    return made


def lines(series: Sequence[tuple[str, Sequence[float | None]]], top: float) -> list[Line]:
    """At most two lines; a bucket without a value is left out. The second is dashed."""
    made = []
    for number, (name, values) in enumerate(series[:2]):
        step = (RIGHT - LEFT) / max(1, len(values))
        points = [
            f"{LEFT + (index + 0.5) * step:.1f},{_y(value, top)}"
            for index, value in enumerate(values)
            if value is not None
        ]
        made.append(Line(name, " ".join(points), dashed=number == 1))
    return made


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile; None of nothing. share: 0.95 for p95."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
