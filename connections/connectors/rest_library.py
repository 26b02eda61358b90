"""Definitions as YAML: those that come with SyncAdmin, and export and import of any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from connections.connectors.rest_definition import Definition, DefinitionError, dump, parse

FOLDER = Path(__file__).parent / "definitions"
LONGEST_FILE = 500_000  # characters; the largest that comes with SyncAdmin has a fiftieth of that
WIDTH = 110


def shipped() -> Sequence[Definition]:
    """By kind. Raises DefinitionError for a file that is none."""
    return [from_yaml(path.read_text()) for path in sorted(FOLDER.glob("*.yaml"))]


def to_yaml(definition: Definition) -> str:
    """For another installation. It holds no secret: those are in the connection's own encrypted fields."""
    document = dump(definition)
    document.pop("kind", None)  # whoever imports it has a connection of the kind “REST API”
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=WIDTH)


def from_yaml(text: str) -> Definition:
    """Raises DefinitionError, with the line where the text is no YAML."""
    if len(text) > LONGEST_FILE:
        raise DefinitionError((), f"the file is longer than {LONGEST_FILE} characters")
    try:
        document = yaml.load(text, Plain)  # noqa: S506 - a safe loader without aliases
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise DefinitionError((), f"{where}{getattr(error, 'problem', None) or 'this is no YAML'}") from None
    except RecursionError:
        raise DefinitionError((), "it is nested too deeply") from None
    return parse(document)


class Plain(yaml.SafeLoader):
    """Plain values only: an alias can make a small file a huge document, and a time would be no text."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases are not taken", event.start_mark)
        return super().compose_node(parent, index)


Plain.yaml_implicit_resolvers = {
    sign: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for sign, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
