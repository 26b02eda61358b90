"""What the small JSON API keeps: things, their notes, people; and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from connections.sandbox.base import Response
from connections.sandbox.rest_habits import Habits
from connections.sandbox.store import Store

STATUSES = {1: "New", 2: "Open", 3: "Done"}
TITLE_LENGTH = 120
TEXTS = ("title", "body", "story", "reference", "team", "ext")
NUMBERS, FLAGS, LISTS = ("amount",), ("urgent",), ("labels",)
WRITABLE = (*TEXTS, *NUMBERS, *FLAGS, *LISTS, "status", "owner", "due", "seen")
BLANK: dict[str, Any] = {**dict.fromkeys(WRITABLE), "status": 1, "labels": [], "urgent": False}


class Problem(Exception):
    def __init__(self, status: int, message: str, **fields: str) -> None:
        super().__init__(message)
        body: dict[str, Any] = {"message": message}
        if fields:
            body["fields"] = [{"name": name, "said": said} for name, said in fields.items()]
        self.response = Response(status, {"error": body})


class Things:
    def __init__(self, store: Store, habits: Habits, clock: Callable[[], float]) -> None:
        self.store = store
        self.habits = habits
        self.clock = clock
        self.hidden: set[str] = set()
        self.people = [
            {"id": 7, "email": "ana@acme.example", "name": "Ana Ruiz", "active": True},
            {"id": 8, "email": "bob@acme.example", "name": "Bob Lindqvist", "active": True},
            {"id": 9, "email": "gone@acme.example", "name": "Gone Doe", "active": False},
        ]

    def stamp(self) -> str:
        return datetime.fromtimestamp(int(self.clock()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def all(self) -> list[dict[str, Any]]:
        return self.store.all("thing")

    def present(self, id: str) -> dict[str, Any]:
        """Raises Problem where it is not there, as the habit has it."""
        thing = self.store.get("thing", id)
        if thing is None:
            raise Problem(404, "no such thing")
        if thing["_gone"] and "_into" not in thing and self.habits.deleted not in ("flag", "retired"):
            raise Problem(410 if self.habits.deleted == "410" else 404, "no such thing")
        found: dict[str, Any] = thing
        return self.present(found["_into"]) if "_into" in found else found

    def shown(self, thing: Mapping[str, Any]) -> dict[str, Any]:
        if thing["_gone"] and self.habits.deleted == "tombstone":
            return {"id": thing["id"], "deleted": True, "updated": thing["updated"]}
        found = {name: value for name, value in thing.items() if not name.startswith("_") and name not in self.hidden}
        if self.habits.condition == "none":
            del found["lock"]
        if self.habits.deleted == "flag":
            found["deleted"] = thing["_gone"]
        return found

    def create(self, values: Mapping[str, Any], by: str, key: str = "") -> dict[str, Any]:
        taken = self._checked({**BLANK, **self._known(values)}, {})
        number = self.store.next_number("thing")
        thing = {**taken, "id": number, "lock": 1, "created": self.stamp(), "updated": self.stamp()}
        thing |= {"created_by": by, "updated_by": by, "_gone": False, "_key": key}
        self.store.put("thing", str(number), thing)
        return thing

    def update(self, id: str, values: Mapping[str, Any], by: str, whole: bool = False) -> dict[str, Any]:
        thing = self.present(id)
        if thing["_gone"]:
            raise Problem(404, "no such thing")
        known = self._known(values)
        taken = self._checked({**(BLANK if whole else thing), **known}, thing)
        thing = {**thing, **{name: taken[name] for name in WRITABLE}, "lock": thing["lock"] + 1}
        thing |= {"updated": self.stamp(), "updated_by": by}
        self.store.put("thing", str(thing["id"]), thing)
        return thing

    def delete(self, id: str, by: str) -> None:
        thing = self.present(id)
        if thing["_gone"] and self.habits.deleted == "flag":
            raise Problem(404, "no such thing")
        self.store.put("thing", id, {**thing, "_gone": True, "lock": thing["lock"] + 1, "updated": self.stamp()})

    def merge(self, id: str, into: str) -> None:
        """From now on the other one answers under this id too; lists lack it."""
        self.store.put("thing", id, {**self.present(id), "_gone": True, "_into": into})
        self.update(into, {}, "7")

    def check_condition(self, id: str, headers: Mapping[str, str], body: Mapping[str, Any] | None) -> None:
        if self.habits.condition in ("etag", "required"):
            wanted = headers.get("if-match")
            if wanted is None and self.habits.condition == "required":
                raise Problem(428, "say which version")
            if wanted is not None and wanted != f'"{self.present(id)["lock"]}"':
                raise Problem(self.habits.mismatch_status, "changed meanwhile")
        elif (
            self.habits.condition == "lock"
            and body is not None
            and body.get("lock")
            not in (
                None,
                self.present(id)["lock"],
            )
        ):
            raise Problem(self.habits.mismatch_status, "stale")

    def by_idempotency_key(self, key: str) -> dict[str, Any] | None:
        return next((thing for thing in self.all() if thing["_key"] == key), None)

    def _known(self, values: Mapping[str, Any]) -> dict[str, Any]:
        unknown = set(values) - {*WRITABLE, "id", "lock", "created", "updated", "created_by", "updated_by", "deleted"}
        if unknown and not self.habits.quiet:
            raise Problem(422, "unknown", **dict.fromkeys(unknown, "is not known"))
        return {name: value for name, value in values.items() if name in WRITABLE}

    def _checked(self, values: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
        said: dict[str, str] = {}
        if not values["title"] or not isinstance(values["title"], str):
            said["title"] = "can't be blank"
        elif len(values["title"]) > TITLE_LENGTH:
            said["title"] = f"is longer than {TITLE_LENGTH}"
        if values["status"] not in STATUSES:
            said["status"] = "is no status"
        if values["owner"] is not None and values["owner"] not in [p["id"] for p in self.people if p["active"]]:
            said["owner"] = "is nobody"
        said |= {name: "is no number" for name in NUMBERS if not isinstance(values[name], int | float | None)}
        if said and self.habits.quiet and before:
            return {**values, **{name: before[name] for name in said}}
        if said:
            raise Problem(422, "invalid", **said)
        texts = {name: values[name].replace("\n", "\r\n") for name in ("body",) if isinstance(values[name], str)}
        return {**values, **{name: text.replace("\r\r\n", "\r\n") for name, text in texts.items()}}

    # Notes. -----------------------------------------------------------------------------------------------------

    def notes_of(self, id: str) -> list[dict[str, Any]]:
        return [note for note in self.store.all("note") if note["thing"] == int(id)]

    def add_note(self, id: str, text: str, by: str) -> dict[str, Any]:
        number = self.store.next_number("note", 500)
        note = {"id": number, "thing": int(id), "text": text, "created": self.stamp(), "author": by}
        self.store.put("note", str(number), note)
        return note
