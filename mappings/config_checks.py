"""What keeps a configuration file from being planned and applied, beyond its form (config_file.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Q

from connections.models import Connection
from mappings import models
from mappings.config_file import SECTIONS
from mappings.models import Side
from mappings.moved import moved_sides
from mappings.remote import connection_form


def problems_of(wanted: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Why a file cannot be used, each with its place. `wanted`, `current`: the file, and what is stored in its form."""
    problems = [*_unknown_names(wanted, current)]
    for slug, mapping in wanted.get("mappings", {}).items():
        problems += moved_records(slug, mapping)
    for name, connection in wanted.get("connections", {}).items():
        problems += _form_problems(name, connection)
        problems += _another_system(name, connection)
    return problems


def _unknown_names(wanted: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[str]:
    """Everything a mapping names must be in the file, or stored where the file lacks the section."""
    known = {section: set(wanted.get(section, current[section])) for section in SECTIONS}
    for slug, mapping in wanted.get("mappings", {}).items():
        for side in Side.values:
            name = mapping[side]["connection"]
            if name not in known["connections"]:
                yield f"mappings.{slug}.{side}.connection: there is no connection {name!r}."
        for number, rule in enumerate(mapping["rules"], start=1):
            for key, section in (("value_map", "value_maps"), ("policy", "policies")):
                if rule[key] and rule[key] not in known[section]:
                    yield f"mappings.{slug}.rules[{number}].{key}: there is no {key} {rule[key]!r}."


def moved_records(slug: str, item: Mapping[str, Any]) -> Iterator[str]:
    """The sides that a file turns to other records although the mapping was published. The pages offer no such thing.

    ⚑ Runs take the connections of the draft: this would take effect before anybody publishes.
    """
    mapping = models.Mapping.objects.select_related("published").filter(slug=slug).first()
    if mapping is None or mapping.published is None:
        return
    names = {side: item[side]["connection"] for side in Side.values}
    keys = dict(Connection.objects.filter(name__in=names.values()).values_list("name", "pk"))
    wanted = {
        side: {"connection": keys.get(name), "connection_name": name, "object_type": item[side]["object_type"]}
        for side, name in names.items()
    }
    for problem in moved_sides(mapping.published.document, wanted):
        yield f"mappings.{slug}.{problem.side}: {problem.message}"


def _another_system(name: str, connection: Mapping[str, Any]) -> Iterator[str]:
    """A connection of this name to another system, where published mappings use it."""
    row = Connection.objects.filter(name=name).exclude(kind=connection["kind"]).first()
    published = models.Mapping.objects.exclude(published=None)
    used = published.filter(Q(left_connection=row) | Q(right_connection=row)).first() if row else None
    if row is not None and used is not None:
        yield (
            f"connections.{name}.kind: was {row.kind}, and {used.slug} was published with it. Its pairs go by the ids "
            "there, which mean other records or none elsewhere. Make a new connection and a new mapping."
        )


def _form_problems(name: str, connection: Mapping[str, Any]) -> Iterator[str]:
    """What the connector's own form says of a connection in the file."""
    where = f"connections.{name}"
    try:
        form = connection_form(connection["kind"], connection["settings"])
    except LookupError:
        yield f"{where}.kind: there is no connector {connection['kind']!r}."
        return
    secret = {field.name for field in form if field.secret}
    plain = {field.name for field in form if not field.secret}
    for key in sorted(set(connection["settings"]) & secret):
        yield f"{where}.settings.{key}: is a secret; name an environment variable under secrets instead."
    for key in sorted(set(connection["settings"]) - secret - plain):
        yield f"{where}.settings.{key}: {connection['kind']} has no such setting."
    for key in sorted(set(connection["secrets"]) - secret):
        yield f"{where}.secrets.{key}: {connection['kind']} has no such secret."
