"""The whole configuration as one file: export it, plan what a file would change, apply it.

The file (format: mappings/config_file.py) is compared with what is stored; connections, policies and value maps take
effect when applied, mappings change their *draft*. A section the file does not have is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import ProtectedError

from connections import hooks
from connections.describing import DRAFT
from connections.models import Connection
from connections.pauses import note_set_up_anew
from mappings import models
from mappings.config_checks import moved_records, problems_of
from mappings.config_file import ConfigError, dump, load
from mappings.models import ConflictPolicy, FieldMapping, Side, ValueMap
from mappings.remote import secrets_go_to

Thing = TypeVar("Thing", Connection, ConflictPolicy, ValueMap, models.Mapping)

# What is made before what names it; deletions go the other way.
ORDER = ("connections", "policies", "value_maps", "mappings")


@dataclass(frozen=True, slots=True)
class FieldDiff:
    field: str  # dotted path inside the thing
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """What a file does to one thing. `action`: "create", "update", "delete" or "unchanged"."""

    action: str
    section: str
    name: str
    fields: tuple[FieldDiff, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def export() -> str:
    """Everything as a file. Secrets appear as names of environment variables only."""
    return dump(stored())


def plan(text: str, environ: Mapping[str, str] | None = None) -> list[ConfigChange]:
    """What `apply` would do. Raises ConfigError.

    With `environ`, secrets found there are compared with the stored ones; a difference shows as "changed".
    """
    wanted = load(text)
    current = stored()
    if problems := problems_of(wanted, current):
        raise ConfigError(problems)
    changes = []
    for section in ORDER:
        if section not in wanted:
            continue
        for name, item in wanted[section].items():
            before = current[section].get(name)
            if before is None:
                changes.append(ConfigChange("create", section, name, tuple(_diff({}, _comparable(item)))))
                continue
            fields = tuple(_diff(_comparable(before), _comparable(item)))
            if section == "connections" and environ is not None:
                fields += tuple(_secret_changes(name, item, environ))
            changes.append(ConfigChange("update" if fields else "unchanged", section, name, fields))
        for name in current[section]:
            if name not in wanted[section]:
                changes.append(ConfigChange("delete", section, name))
    return changes


def apply(
    text: str, user: Any, environ: Mapping[str, str], *, delete: bool = False, actor: str = ""
) -> list[ConfigChange]:
    """Carry out a file in one transaction, with an audit entry per change. Raises ConfigError; then nothing changed.

    Things the file leaves out of a section it has are deleted only if `delete` says so. `actor` names who acts where
    there is no `user`.
    """
    with transaction.atomic():
        wanted, current = load(text), stored()
        changes = plan(text, environ)
        left_out = [f"{change.section}.{change.name}" for change in changes if change.action == "delete"]
        if left_out and not delete:
            raise ConfigError(
                [
                    f"The file leaves out {', '.join(left_out)}. Nothing was changed. "
                    "Put them into the file, or allow deletions."
                ]
            )
        for change in changes:
            if change.action in ("create", "update"):
                thing = WRITERS[change.section](change, wanted[change.section][change.name], environ)
                _note(change, user, actor, current, wanted, thing)
        for section in reversed(ORDER):
            for change in changes:
                if change.section == section and change.action == "delete":
                    _delete(change)
                    _note(change, user, actor, current, wanted, None)
    return changes


# What is stored, as the file says it. ------------------------------------------------------------------------


def stored() -> dict[str, Any]:
    """The configuration in the form of the file: {section: {name: settings}}."""
    mappings = models.Mapping.objects.select_related("left_connection", "right_connection")
    return {
        "connections": {connection.name: _stored_connection(connection) for connection in Connection.objects.all()},
        "policies": {
            policy.name: {"kind": policy.kind, "tolerance": policy.tolerance, "description": policy.description}
            for policy in ConflictPolicy.objects.all()
        },
        "value_maps": {
            value_map.name: {"entries": value_map.entries, "description": value_map.description}
            for value_map in ValueMap.objects.all()
        },
        "mappings": {
            mapping.slug: stored_mapping(mapping)
            for mapping in mappings.prefetch_related("rules__value_map", "rules__policy")
        },
    }


def secret_variable(connection: str, secret: str) -> str:
    """Name of the environment variable an export gives to a secret: JIRA_CLOUD_TOKEN."""
    name = re.sub(r"[^A-Z0-9]+", "_", f"{connection}_{secret}".upper()).strip("_")
    return name if name[:1].isalpha() else f"SECRET_{name}"


def _stored_connection(connection: Connection) -> dict[str, Any]:
    return {
        "kind": connection.kind,
        "address": connection.address,
        # The draft of a description is nobody's configuration yet; a file that changes its connection gives it up.
        "settings": {name: value for name, value in connection.settings.items() if name != DRAFT},
        "secrets": {secret: secret_variable(connection.name, secret) for secret in sorted(connection.secrets)},
    }


def stored_mapping(mapping: models.Mapping) -> dict[str, Any]:
    """A mapping's draft as the file says it."""

    def side(name: str) -> dict[str, Any]:
        return {
            "connection": mapping.connection(name).name,
            "object_type": mapping.object_type(name),
            "scope": getattr(mapping, f"{name}_scope"),
            "create": getattr(mapping, f"create_on_{name}"),
            "create_defaults": getattr(mapping, f"create_defaults_{name}"),
            "on_delete": getattr(mapping, f"on_delete_{name}"),
            "close_values": getattr(mapping, f"close_values_{name}"),
        }

    return {
        "name": mapping.name,
        "description": mapping.description,
        "left": side(Side.LEFT),
        "right": side(Side.RIGHT),
        "match_keys": mapping.match_keys,
        "initial": mapping.initial,
        "poll_seconds": mapping.poll_seconds,
        "poll_seconds_idle": mapping.poll_seconds_idle,
        "schedule": mapping.schedule,
        "brakes": mapping.brakes,
        "rules": [stored_rule(rule) for rule in mapping.rules.all()],
    }


def stored_rule(rule: FieldMapping) -> dict[str, Any]:
    return {
        "left": rule.left_field,
        "right": rule.right_field,
        "direction": rule.direction,
        "transform": rule.transform,
        "params": rule.params,
        "value_map": rule.value_map.name if rule.value_map is not None else "",
        "policy": rule.policy.name if rule.policy is not None else "",
        "one_way_target": rule.one_way_target,
        "initial": rule.initial,
        "enabled": rule.enabled,
    }


# Comparing. --------------------------------------------------------------------------------------------------


def _comparable(item: Mapping[str, Any]) -> dict[str, Any]:
    """Rules by their fields, so that an inserted one does not make all after it differ; secrets by presence."""
    result = dict(item)
    if "rules" in result:
        pairs = [f"{rule['left']} ↔ {rule['right']}" for rule in result["rules"]]
        result["rules"] = dict(zip(pairs, result["rules"], strict=True))
        result["order of rules"] = pairs
    if "secrets" in result:
        result["secrets"] = dict.fromkeys(result["secrets"], "set")
    return result


def _diff(before: Any, after: Any, path: str = "") -> Iterator[FieldDiff]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            yield from _diff(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    elif before != after:
        yield FieldDiff(path, before, after)


def _secret_changes(name: str, item: Mapping[str, Any], environ: Mapping[str, str]) -> Iterator[FieldDiff]:
    held = Connection.objects.get(name=name).secrets
    for secret, variable in item["secrets"].items():
        if secret in held and variable in environ and environ[variable] != held[secret]:
            yield FieldDiff(f"secrets.{secret}", "set", "changed")


# Writing. ----------------------------------------------------------------------------------------------------


def _write_connection(change: ConfigChange, item: Mapping[str, Any], environ: Mapping[str, str]) -> Connection:
    connection = Connection.objects.filter(name=change.name).first() or Connection(name=change.name)
    moved = connection.pk is not None and (connection.address, connection.kind) != (item["address"], item["kind"])
    told = secrets_go_to(connection.kind, connection.settings) if connection.pk else frozenset()
    moved = moved or (connection.pk is not None and not secrets_go_to(item["kind"], item["settings"]) <= told)
    secrets, missing = {}, []
    for secret, variable in item["secrets"].items():
        if environ.get(variable):
            secrets[secret] = environ[variable]
        elif secret in connection.secrets and not moved:
            secrets[secret] = connection.secrets[secret]
        else:
            missing.append(
                f"connections.{change.name}.secrets.{secret}: the environment variable {variable} is not set. "
                + ("A new address asks for the secret again." if moved else "The connection could not sign in.")
            )
    if missing:
        raise ConfigError(missing)
    connection.kind, connection.address, connection.settings = item["kind"], item["address"], item["settings"]
    connection.secrets = secrets  # type: ignore[assignment]  # decrypted JSON, not the column's text
    # Tokens were given to the account as it was.
    connection.tokens = {}  # type: ignore[assignment]
    # Named columns: workers keep their own facts in this row meanwhile.
    _saved(connection, change, ["kind", "address", "settings", "secrets", "tokens", "updated_at"])
    note_set_up_anew(connection)
    return connection


def _write_policy(change: ConfigChange, item: Mapping[str, Any], environ: Mapping[str, str]) -> ConflictPolicy:
    policy = ConflictPolicy.objects.filter(name=change.name).first() or ConflictPolicy(name=change.name)
    policy.kind, policy.tolerance, policy.description = item["kind"], item["tolerance"], item["description"]
    return _saved(policy, change)


def _write_value_map(change: ConfigChange, item: Mapping[str, Any], environ: Mapping[str, str]) -> ValueMap:
    value_map = ValueMap.objects.filter(name=change.name).first() or ValueMap(name=change.name)
    value_map.entries, value_map.description = item["entries"], item["description"]
    return _saved(value_map, change)


# What a file says of a side, by name of the column; {}: the side.
SIDE_SETTINGS = {
    "{}_object_type": "object_type",
    "{}_scope": "scope",
    "create_on_{}": "create",
    "create_defaults_{}": "create_defaults",
    "on_delete_{}": "on_delete",
    "close_values_{}": "close_values",
}
# What of a mapping is written as it stands in the file.
SETTINGS = (
    "name",
    "description",
    "match_keys",
    "initial",
    "poll_seconds",
    "poll_seconds_idle",
    "schedule",
    "brakes",
)


def _write_mapping(change: ConfigChange, item: Mapping[str, Any], environ: Mapping[str, str]) -> models.Mapping:
    mapping = models.Mapping.objects.filter(slug=change.name).first() or models.Mapping(slug=change.name)
    values = {name: item[name] for name in SETTINGS}
    for side in Side.values:
        values[f"{side}_connection"] = Connection.objects.get(name=item[side]["connection"])
        values |= {name.format(side): item[side][key] for name, key in SIDE_SETTINGS.items()}
    for name, value in values.items():
        setattr(mapping, name, value)
    mapping.revision += 1  # whoever has the draft open is told
    # Named columns: somebody may publish or pause it meanwhile, or change its windows.
    _saved(mapping, change, [*values, "revision", "updated_at"])
    # ⚑ Once more, now that the row is ours: it may have been published since the file was compared.
    if problems := list(moved_records(change.name, item)):
        raise ConfigError(problems)
    rules = {(rule.left_field, rule.right_field): rule for rule in mapping.rules.all()}
    for position, data in enumerate(item["rules"]):
        rule = rules.pop((data["left"], data["right"]), None) or FieldMapping(
            mapping=mapping, left_field=data["left"], right_field=data["right"]
        )
        rule.position = position
        rule.value_map = ValueMap.objects.get(name=data["value_map"]) if data["value_map"] else None
        rule.policy = ConflictPolicy.objects.get(name=data["policy"]) if data["policy"] else None
        for name in ("direction", "transform", "params", "one_way_target", "initial", "enabled"):
            setattr(rule, name, data[name])
        rule.save()
    for rule in rules.values():
        rule.delete()
    return mapping


WRITERS = {
    "connections": _write_connection,
    "policies": _write_policy,
    "value_maps": _write_value_map,
    "mappings": _write_mapping,
}
MODELS = {"connections": Connection, "policies": ConflictPolicy, "value_maps": ValueMap}


def _saved(thing: Thing, change: ConfigChange, columns: Sequence[str] | None = None) -> Thing:
    """`columns`: those to write of a thing that is stored already; None: all."""
    try:
        thing.full_clean(validate_constraints=False)
    except ValidationError as error:
        raise ConfigError(
            [
                f"{change.section}.{change.name}.{field}: {' '.join(messages)}"
                for field, messages in error.message_dict.items()
            ]
        ) from None
    thing.save(update_fields=columns if thing.pk else None)
    return thing


def _delete(change: ConfigChange) -> None:
    try:
        if change.section == "mappings":
            mapping = models.Mapping.objects.get(slug=change.name)
            models.Mapping.objects.filter(pk=mapping.pk).update(published=None)
            mapping.delete()
        else:
            MODELS[change.section]._default_manager.get(name=change.name).delete()
    except ProtectedError:
        raise ConfigError(
            [
                f"{change.section}.{change.name}: is in use or has a history and cannot be deleted. "
                "Nothing was changed. Put it into the file; a mapping can be paused instead."
            ]
        ) from None


def _note(
    change: ConfigChange,
    user: Any,
    actor: str,
    current: Mapping[str, Any],
    wanted: Mapping[str, Any],
    thing: Any,
) -> None:
    hooks.audit(
        "config",
        f"config_{change.action}",
        user=user,
        actor=actor,
        mapping=thing if isinstance(thing, models.Mapping) else None,
        connection_id=thing.pk if isinstance(thing, Connection) else None,
        params={"section": change.section, "name": change.name, "fields": [diff.field for diff in change.fields]},
        object_label=change.name,
        before=current[change.section].get(change.name),
        after=wanted[change.section].get(change.name) if change.action != "delete" else None,
    )
