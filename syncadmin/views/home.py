"""Home: the first line is the answer, then what needs a person, the figures, the mappings and two charts."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from connections.access import requires
from connections.models import Connection
from connections.usage import visible_connections
from mappings.models import Mapping
from syncadmin import charts
from syncadmin.overview import RANGES, Ledger, Overview, Tile, counted_states, gather, link

MOST_TILES = 12
SMALLEST_TOP = 3  # an axis for fewer changes would need fractions of a change
MOST_LABELS = 5  # time labels under a chart; more would touch each other
NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten")


@dataclass(frozen=True, slots=True)
class Step:
    """One of the four steps of the empty page. state: done, now or closed."""

    number: int
    icon: str
    title: str
    text: str
    state: str
    url: str
    button: str


@requires("home.read")
def page(request: HttpRequest) -> HttpResponse:
    chosen = request.GET.get("range", "24h")
    if chosen not in RANGES:
        chosen = "24h"
    overview = gather(request.user, chosen)
    running = any(tile.mapping.state != Mapping.State.DRAFT for tile in overview.tiles)
    context = {
        "overview": overview,
        "answer": answer(overview),
        "summary": summary(overview),
        "ranges": [(name, f"{name[:-1]} {name[-1]}", name == chosen) for name in RANGES],
        "range": chosen,
        "tiles": overview.tiles[:MOST_TILES],
        "more_tiles": len(overview.tiles) - MOST_TILES,
        "steps": [] if running else steps(request, overview),
        "figures": figures(overview),
        "carried": carried_chart(overview.ledger, chosen),
        "lag": lag_chart(overview, chosen),
        "connections": list(visible_connections(request.user)[:MOST_TILES]),
    }
    return render(request, "home.html", context)


def answer(overview: Overview) -> str:
    number = len(overview.needs)
    if not number:
        return "Nothing needs you"
    return "One thing needs you" if number == 1 else f"{number} things need you"


def summary(overview: Overview) -> str:
    """How many mappings run, and what waits."""
    tiles = overview.tiles
    if not tiles:
        return "No mapping is set up yet."
    states = counted_states(tiles)
    fine = states["Fine"] + states["Degraded"]
    runs = f"{_spoken(fine)} of {_spoken(len(tiles)).lower()} mappings {'runs' if fine == 1 else 'run'}"
    if len(tiles) == 1:
        runs = f"{tiles[0].mapping} {'runs' if fine else 'does not run'}"
    late = f", {_spoken(states['Degraded']).lower()} of them late" if states["Degraded"] and len(tiles) > 1 else ""
    waits = " One change waits." if overview.waiting == 1 else f" {overview.waiting:,} changes wait."
    return f"{runs}{late}.{waits if overview.waiting else ''}"


def _spoken(number: int) -> str:
    return NUMBERS[number] if number < len(NUMBERS) else f"{number:,}"


def figures(overview: Overview) -> dict[str, object]:
    """p50 and p95 of the waits, in seconds, and what was carried."""
    waits = overview.ledger.total.all_waits
    return {
        "p50": charts.percentile(waits, 0.5),
        "p95": charts.percentile(waits, 0.95),
        "carried": overview.ledger.total.carried,
        "refused": overview.ledger.total.refused,
    }


def _labels(ledger: Ledger, chosen: str) -> list[str]:
    """A label under every n-th bucket, "" under the others."""
    pattern = RANGES[chosen][2]
    every = max(1, len(ledger.starts) // MOST_LABELS)
    return [
        timezone.localtime(start).strftime(pattern) if index % every == 0 else ""
        for index, start in enumerate(ledger.starts)
    ]


def carried_chart(ledger: Ledger, chosen: str) -> dict[str, object]:
    total = ledger.total
    sums = [right + left for right, left in zip(total.to_right, total.to_left, strict=True)]
    top = charts.nice_top(max([*sums, SMALLEST_TOP]))
    return {
        "bars": charts.bars(total.to_right, total.to_left, _labels(ledger, chosen), top),
        "ticks": charts.ticks(top),
        "name": f"Changes carried, {min(sums)} to {max(sums)} a bar, {sum(sums):,} in all",
    }


def lag_chart(overview: Overview, chosen: str) -> dict[str, object]:
    """p95 of the two busiest mappings."""
    ledger = overview.ledger
    busiest: list[Tile] = sorted((t for t in overview.tiles if t.carried), key=lambda tile: -tile.carried)[:2]
    series = [
        (tile.mapping.name, [charts.percentile(bucket, 0.95) for bucket in ledger.by_mapping[tile.mapping.pk].waits])
        for tile in busiest
    ]
    highest = max((value for _, values in series for value in values if value is not None), default=0.0)
    top = charts.nice_top(max(highest, 1.0))
    said = "; ".join(
        f"{name} at most {max(v for v in values if v is not None):.1f} s" for name, values in series if any(values)
    )
    marks = charts.bars([0] * len(ledger.starts), [0] * len(ledger.starts), _labels(ledger, chosen), top)
    return {
        "lines": charts.lines(series, top),
        "ticks": charts.ticks(top),
        "marks": marks,
        "name": f"p95 in seconds: {said or 'no writes yet'}",
    }


def steps(request: HttpRequest, overview: Overview) -> list[Step]:
    """The way to a first mapping; the steps ahead are closed but visible."""
    connections = list(visible_connections(request.user).order_by("pk")[:2])
    drafts = overview.tiles
    texts = (
        (
            "plug",
            "Connect the left side",
            "Choose a system and sign in. We test every permission and say what is missing.",
        ),
        ("plug", "Connect the right side", "The other system, through an account of its own."),
        ("map", "Map the fields", "Start from our suggestions, each with its reason. Try it on real records first."),
        ("run", "Look, then publish", "A test run lists what would be created and changed. You approve it once."),
    )
    first = link("connection", connections[0].pk) if connections else link("connection-add")
    second = link("connection", connections[1].pk) if len(connections) > 1 else link("connection-add")
    draft = drafts[0].url if drafts else link("mappings")
    done = (bool(connections), len(connections) > 1, bool(drafts), False)
    urls = (first, second, draft, draft)
    buttons = (
        "See the connection" if done[0] else "Add a connection",
        "See the connection" if done[1] else "Add a connection",
        "See the mapping" if done[2] else "Map the fields",
        "Look at it",
    )
    current = done.index(False)
    return [
        Step(
            number=index + 1,
            icon="okc" if done[index] else texts[index][0],
            title=texts[index][1],
            text=_tested(connections, index) or texts[index][2],
            state="done" if done[index] else "now" if index == current else "closed",
            url=urls[index] if done[index] or index == current else "",
            button=buttons[index],
        )
        for index in range(4)
    ]


def _tested(connections: list[Connection], index: int) -> str:
    if index >= len(connections):
        return ""
    connection = connections[index]
    tested = "Tested." if connection.state == Connection.State.OK else f"{connection.get_state_display()}."
    return f"{connection.name}, {connection.address.removeprefix('https://')}. {tested}"
