"""Options and people that a described API lists itself, asked for now and then and kept for all runs of a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connections.connectors.rest_client import Client
from connections.connectors.rest_definition import FieldDefinition, OptionDefinition, People
from connections.connectors.rest_paths import look, truth

# A new option or colleague is known this late at most; testing the connection asks at once.
KEPT_SECONDS = 300.0
MOST_PAGES = 200  # of people; more than any team has, and an end for a list that has none

_memory: dict[tuple[str, ...], tuple[float, Any]] = {}
_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class Somebody:
    id: str
    email: str  # lower case; "" where it is hidden
    name: str
    active: bool

    @property
    def value(self) -> str:
        return self.email or f"id:{self.id}"


class Lookups:
    def __init__(self, client: Client) -> None:
        self.client = client

    def options(self, field: FieldDefinition) -> Sequence[OptionDefinition]:
        source = field.options_from
        if source is None:
            return field.options

        def ask() -> Sequence[OptionDefinition]:
            found = [
                OptionDefinition(look(source.value, each), str(look(source.name, each) or ""))
                for each in self._list(self.client.path(source.path), {}, source.records)
            ]
            return (*field.options, *(each for each in found if each.value is not None))

        options: Sequence[OptionDefinition] = self._kept(f"options {field.name} {source}", ask)
        return options

    def accounts(self) -> Mapping[str, str]:
        """E-mail address by id, of everybody."""
        return {each.id: each.email for each in self._everybody()}

    def writable(self) -> Mapping[str, str] | None:
        """The same of those who can be chosen; None where the API lists nobody."""
        if self.client.definition.people is None:
            return None
        return {each.id: each.email for each in self._everybody() if each.active}

    def search(self, query: str) -> Sequence[tuple[str, str]]:
        """(value, name) of active people whose name or address holds the text."""
        people = self.client.definition.people
        if people is None:
            return ()
        wanted = query.strip().lower()
        asks = "query" in str(people.parameters) or "query" in people.path
        found = self._ask(people, query.strip()) if asks and wanted else self._everybody()
        return [
            (each.value, f"{each.name} ({each.email})" if each.email else each.name)
            for each in found
            if each.active and (wanted in each.name.lower() or wanted in each.email)
        ]

    def forget(self) -> None:
        mine = self._own()
        with _guard:
            for key in [key for key in _memory if key[: len(mine)] == mine]:
                del _memory[key]

    def _everybody(self) -> Sequence[Somebody]:
        people = self.client.definition.people
        if people is None:
            return ()
        found: Sequence[Somebody] = self._kept(f"people {people}", lambda: self._ask(people, ""))
        return found

    def _ask(self, people: People, query: str) -> Sequence[Somebody]:
        found: dict[str, Somebody] = {}
        parameters = self.client.texts(people.parameters, query=query)
        for page in range(1, MOST_PAGES if people.page_parameter else 2):
            turned = {**parameters, people.page_parameter: str(page)} if people.page_parameter else parameters
            listed = self._list(self.client.path(people.path, query=query), turned, people.records)
            known = len(found)
            for each in listed:
                somebody = _somebody(people, each)
                if somebody:
                    found[somebody.id] = somebody
            if len(found) == known:
                break
        return list(found.values())

    def _list(self, path: str, parameters: Mapping[str, str], records: str) -> list[Any]:
        answer = self.client.call("GET", path, about="list", params=parameters)
        found = look(records, answer.json)
        if not isinstance(found, list):
            raise self.client.unusable(f"a list at “{records}”")
        return found

    def _own(self) -> tuple[str, ...]:
        context = self.client.context
        return (context.name, context.address)

    def _kept(self, what: str, ask: Callable[[], Any]) -> Any:
        key = (*self._own(), what)
        kept = _memory.get(key)
        if kept and time.monotonic() - kept[0] < KEPT_SECONDS:
            return kept[1]
        found = ask()
        with _guard:
            _memory[key] = (time.monotonic(), found)
        return found


def _somebody(people: People, raw: Any) -> Somebody | None:
    id = look(people.id, raw)
    if isinstance(id, bool) or not isinstance(id, str | int) or not str(id):
        return None
    email = str(look(people.email, raw) or "").lower()
    name = str(look(people.name, raw) or email or id).strip()
    active = truth(people.active, raw) if people.active else True
    return Somebody(str(id), email if "@" in email else "", name, active)
