"""Tickets found otherwise than by id: by key, by value, by who made them, and all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from connections.connectors import zendesk_export as export
from connections.connectors import zendesk_scope as scopes
from connections.connectors.base import Refused
from connections.connectors.zendesk_desk import Desk
from connections.connectors.zendesk_export import HIDDEN_SECONDS
from connections.connectors.zendesk_fields import Shape, moment, normal, plain_id, raw_value
from connections.connectors.zendesk_writes import rows_of

# Values in one question: terms for the same property are alternatives, and a line has its length.
ASKED = 20


def by_value(
    desk: Desk, shape: Shape, path: str, wanted: Sequence[Any], within: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Tickets whose field equals one of `wanted`, whatever the case. The search only names them: it lags behind."""
    column = shape.columns.get(path)
    if column is None or not column.shown.matchable:
        raise Refused(f"Zendesk cannot look tickets up by {path}. Nothing was read. Choose another match field.")
    texts = {str(value).strip().casefold(): str(value) for value in wanted if value not in (None, "")}
    asked = [text for value in texts.values() if (text := _phrase(value))]
    term = path if column.custom_id is None else f"custom_field_{column.custom_id}"
    ids: list[str] = []
    for start in range(0, len(asked), ASKED):
        query = " ".join(f'{term}:"{text}"' for text in asked[start : start + ASKED])
        params = {"query": query, "filter[type]": "ticket"}
        ids += [str(row["id"]) for rows, _ in desk.pages("search/export", "results", params) for row in rows]
    fitting = []
    for row in rows_of(desk, ids).values():
        if row.get("status") == "deleted":
            continue
        try:
            value = normal(shape, path, raw_value(shape, row, path), {})
        except (KeyError, ValueError):
            continue
        if str(value or "").strip().casefold() in texts and scopes.fits(scopes.facts(row), within):
            fitting.append(row)
    return fitting


def made_by(desk: Desk, account: str, since: str) -> list[dict[str, Any]]:
    """Tickets that this user made at or after `since`, newest ids first."""
    found: list[dict[str, Any]] = []
    for rows, _ in desk.pages("tickets", "tickets", {"sort": "-id"}):
        recent = [row for row in rows if (moment(row.get("created_at")) or "") >= since[:19]]
        found += [row for row in recent if plain_id(row.get("submitter_id")) == account]
        if _falling(rows, "id") and not recent:
            break
    return found


def updated_since(desk: Desk, since: str) -> list[str]:
    """Ids of the tickets updated at or after `since`, also of the minute that the export hides."""
    known: dict[str, str] = {}
    while True:
        pages, told = 0, dict[str, str]()
        for rows, _ in desk.pages("tickets", "tickets", {"sort": "-updated_at"}):
            pages += 1
            stamps = {str(row["id"]): moment(row.get("updated_at")) or since for row in rows}
            told |= {id: at for id, at in stamps.items() if at >= since[:19]}
            if _falling(rows, "updated_at") and min(stamps.values(), default=since) < since[:19]:
                break
        # A ticket that is updated meanwhile moves to the top, out of the pages to come: another look finds it there.
        if pages == 1 or told.items() <= known.items():
            return list(known | told)
        known |= told
        since = max(known.values())


def every_id(desk: Desk, within: Mapping[str, Any]) -> Iterator[list[str]]:
    """All tickets there are: those the export shows, then those of the minute that it hides."""
    late: set[str] = set()  # shown, and recent enough to come again in the second part
    started = ""
    for page in export.tickets(desk, None):
        started = page.started or started
        horizon = _back(started, 3 * HIDDEN_SECONDS)
        alive = [row for row in page.rows if row.get("status") != "deleted"]
        late |= {str(row["id"]) for row in alive if (export.changed_at(row) or horizon) >= horizon}
        yield [str(row["id"]) for row in alive if scopes.fits(scopes.facts(row), within)]
    begin = _back(started, 2 * HIDDEN_SECONDS)
    for rows, _ in desk.pages("tickets", "tickets", {"sort": "-updated_at"}):
        recent = [row for row in rows if (moment(row.get("updated_at")) or begin) >= begin]
        new = [row for row in recent if str(row["id"]) not in late]
        late |= {str(row["id"]) for row in new}
        yield [str(row["id"]) for row in new if scopes.fits(scopes.facts(row), within)]
        if _falling(rows, "updated_at") and len(recent) < len(rows):
            break


def _falling(rows: Sequence[Mapping[str, Any]], key: str) -> bool:
    """Whether the list came in the order that was asked for; else it is read to its end."""
    values = [row.get(key) for row in rows]
    return all(type(one) is type(values[0]) for one in values) and values == sorted(values, reverse=True)  # type: ignore[type-var]


def _back(at: str, seconds: float) -> str:
    if not at:
        return ""
    return (datetime.fromisoformat(at) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _phrase(text: str) -> str:
    """Text between quotation marks that ends none and stands for nothing else."""
    return " ".join(text.replace('"', " ").replace("\\", " ").replace("*", " ").split())
