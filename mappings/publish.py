"""Publish a mapping's draft as an immutable version, and roll back to an earlier one.

A run pins its version, so neither writes anything by itself: what runs already started finishes under its own
version, and the next run reads under the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction

from connections import hooks
from connections.connectors.base import Field
from connections.models import Connection
from mappings.changes import diff_versions
from mappings.document import DEFAULT_POLICY, DEFAULT_SET_POLICY, field_snapshot, signature
from mappings.models import ConflictPolicy, FieldMapping, Mapping, MappingVersion, Side, ValueMap, new_rule_id
from mappings.moved import moved_sides
from mappings.problems import Problem
from mappings.remote import facts_of
from mappings.validation import check


class DraftMoved(Exception):
    """Somebody else saved the draft since it was read; nothing was changed. `revision` is the one that is stored."""

    def __init__(self, mapping: Mapping, revision: int) -> None:
        super().__init__(
            f"The draft of {mapping} was saved by somebody else while you were working on it. "
            "Nothing of yours was written over theirs. Compare the two and save again."
        )
        self.revision = revision


class NotPublishable(Exception):
    """The draft has errors; nothing was published. `problems` lists them all, warnings included."""

    def __init__(self, mapping: Mapping, problems: Sequence[Problem]) -> None:
        errors = [problem for problem in problems if problem.level == "error"]
        super().__init__(
            f"{mapping} was not published: {errors[0].message}"
            + (f" ({len(errors) - 1} more.)" if len(errors) > 1 else "")
        )
        self.problems = list(problems)


def rule_document(rule: FieldMapping, left: dict[str, Field], right: dict[str, Field]) -> dict[str, Any]:
    left_field, right_field = field_snapshot(rule.left_field, left), field_snapshot(rule.right_field, right)
    if rule.policy is not None:
        policy = {"name": rule.policy.name, "kind": rule.policy.kind, "tolerance": rule.policy.tolerance}
    else:
        both_sets = left_field["kind"] == right_field["kind"] == "set"
        policy = dict(DEFAULT_SET_POLICY if both_sets else DEFAULT_POLICY)
    return {
        "id": rule.rule_id,
        "left": left_field,
        "right": right_field,
        "direction": rule.direction,
        "transform": rule.transform,
        "params": rule.params,
        "value_map": rule.value_map.name if rule.value_map is not None else "",
        "entries": list(rule.value_map.entries) if rule.value_map is not None else [],
        "policy": policy,
        "own_policy": rule.policy is not None,
        "one_way_target": rule.one_way_target,
        "initial": rule.initial or rule.mapping.initial,
        "own_initial": rule.initial,
    }


def document_of(mapping: Mapping, left_fields: Sequence[Field], right_fields: Sequence[Field]) -> dict[str, Any]:
    """The draft as a version's document (format: mappings/compiled.py). Rules switched off are left out."""
    left, right = ({field.path: field for field in fields} for fields in (left_fields, right_fields))
    rules = mapping.rules.filter(enabled=True).select_related("value_map", "policy", "mapping")
    return {
        "left": _side_document(mapping, Side.LEFT),
        "right": _side_document(mapping, Side.RIGHT),
        "match_keys": mapping.match_keys,
        "initial": mapping.initial,
        "poll_seconds": mapping.poll_seconds,
        "poll_seconds_idle": mapping.poll_seconds_idle,
        "schedule": mapping.schedule,
        "brakes": mapping.brakes,
        "rules": [rule_document(rule, left, right) for rule in rules],
        # Ids of those switched off: what is asked about them waits, what is asked about any other rule is over.
        "off": off_rules(mapping),
        "create_fields": {
            "left": [field_snapshot(path, left) for path in mapping.create_defaults_left],
            "right": [field_snapshot(path, right) for path in mapping.create_defaults_right],
        },
    }


def off_rules(mapping: Mapping) -> list[str]:
    return list(mapping.rules.filter(enabled=False).values_list("rule_id", flat=True))


def _side_document(mapping: Mapping, side: str) -> dict[str, Any]:
    connection = mapping.connection(side)
    is_left = side == Side.LEFT
    return {
        "connection": connection.pk,
        "connection_name": connection.name,
        "kind": connection.kind,
        "object_type": mapping.object_type(side),
        "object_label": mapping.object_type(side).replace("_", " ").title(),
        "scope": mapping.left_scope if is_left else mapping.right_scope,
        "create": mapping.create_on_left if is_left else mapping.create_on_right,
        "create_defaults": mapping.create_defaults_left if is_left else mapping.create_defaults_right,
        "on_delete": mapping.on_delete_left if is_left else mapping.on_delete_right,
        "close_values": mapping.close_values_left if is_left else mapping.close_values_right,
    }


def other_pairs(mapping: Mapping) -> list[tuple[str, tuple[int, str], tuple[int, str]]]:
    """(name, left, right) of every other published mapping, a side being (connection id, object type)."""
    others = Mapping.objects.exclude(pk=mapping.pk).exclude(published=None)
    return [
        (
            other.name,
            (other.left_connection_id, other.left_object_type),
            (other.right_connection_id, other.right_object_type),
        )
        for other in others
    ]


def publish(
    mapping: Mapping,
    user: Any,
    note: str = "",
    left_fields: Sequence[Field] | None = None,
    right_fields: Sequence[Field] | None = None,
) -> MappingVersion:
    """Make the draft, as `mapping` was read, the version that runs.

    Fields are asked of the connections where they are not given. Raises NotPublishable and DraftMoved; then nothing
    has changed. A paused mapping stays paused.
    """
    left, right = facts_of(mapping, Side.LEFT, left_fields), facts_of(mapping, Side.RIGHT, right_fields)
    with transaction.atomic():
        locked = lock_draft(mapping)
        document = document_of(locked, left.fields, right.fields)
        published = locked.published.document if locked.published else None
        problems = check(document, left, right, other_pairs(locked), published)
        if any(problem.level == "error" for problem in problems):
            raise NotPublishable(locked, problems)
        if settle_rule_ids(locked, document):
            document = document_of(locked, left.fields, right.fields)
        version = _land(locked, document, user, note, "version_published")
    mapping.refresh_from_db()
    return version


def roll_back(mapping: Mapping, number: int, user: Any) -> MappingVersion:
    """A new version that repeats version `number`; the draft is set to it as well. Writes to no record by itself.

    Rules get back the ids they had, so that their last agreed values, kept since, hold again. Raises
    MappingVersion.DoesNotExist, DraftMoved, and ValueError where that version is of other records, or of a connection
    that is gone.
    """
    with transaction.atomic():
        locked = lock_draft(mapping)
        old = locked.versions.get(number=number)
        in_force = locked.published.document if locked.published else None
        if moved := next(moved_sides(in_force, old.document), None):
            raise ValueError(f"{moved.what} · Nothing was changed. {moved.means} · {moved.todo}")
        replaced = draft_settings(locked)
        restore_draft(locked, old.document)
        hooks.audit("config", "draft_replaced", user=user, mapping=locked, params={"version": number}, before=replaced)
        # ⚑ Rules that are switched off, now or in that version, are not gone: what is asked about them goes on waiting.
        document = {**old.document, "off": sorted({*off_rules(locked), *old.document.get("off", ())})}
        version = _land(locked, document, user, "", "version_rolled_back", rolled_back_to=number)
    mapping.refresh_from_db()
    return version


def lock_draft(mapping: Mapping) -> Mapping:
    """The stored mapping, locked and its revision raised, if its draft is still the one `mapping` was read as.

    Call inside a transaction. The conditional UPDATE takes the row on both databases; raises DraftMoved.
    """
    found = Mapping.objects.filter(pk=mapping.pk, revision=mapping.revision).update(revision=mapping.revision + 1)
    stored = Mapping.objects.select_related("left_connection", "right_connection", "published").get(pk=mapping.pk)
    if not found:
        raise DraftMoved(stored, stored.revision)
    return stored


def _land(
    mapping: Mapping, document: dict[str, Any], user: Any, note: str, code: str, rolled_back_to: int | None = None
) -> MappingVersion:
    previous = mapping.published
    newest = mapping.versions.order_by("-number").first()
    version = MappingVersion.objects.create(
        mapping=mapping,
        number=newest.number + 1 if newest else 1,
        document=document,
        note=note,
        published_by=user,
        rolled_back_to=rolled_back_to,
    )
    mapping.published = version
    if mapping.state == Mapping.State.DRAFT:
        mapping.state = Mapping.State.ACTIVE
    mapping.save(update_fields=["published", "state", "updated_at"])
    old = previous.document if previous else None
    hooks.audit(
        "publish",
        code,
        user=user,
        mapping=mapping,
        mapping_version=version.number,
        params={
            "number": version.number,
            "previous": previous.number if previous else None,
            "rolled_back_to": rolled_back_to,
            "changes": len(diff_versions(old, document)),
            "note": note,
        },
        before=old,
        after=document,
    )
    hooks.wake(mapping.pk)
    return version


# Rule ids. ---------------------------------------------------------------------------------------------------


def settle_rule_ids(mapping: Mapping, document: dict[str, Any]) -> bool:
    """Give every rule of the draft the id its last agreed values belong to; whether any id changed.

    A rule equal in fields, types and transform to one of the published version is that rule, also when it was
    removed and added again. A rule whose id last stood for something else gets a new id. All others keep theirs.
    """
    published, last_meaning = _meanings(mapping)
    wanted = {rule["id"]: signature(rule) for rule in document["rules"]}
    given = {rule_id: published[meaning] for rule_id, meaning in wanted.items() if meaning in published}
    for rule_id, meaning in wanted.items():
        if rule_id not in given and last_meaning.get(rule_id, meaning) != meaning:
            given[rule_id] = new_rule_id()
    moves = {old: new for old, new in given.items() if old != new}
    # Whoever holds an id that another rule claims, and keeps no claim of its own, makes way.
    for holder in mapping.rules.filter(rule_id__in=moves.values()).exclude(rule_id__in=moves):
        moves[holder.rule_id] = new_rule_id()
    if not moves:
        return False
    rules = list(mapping.rules.filter(rule_id__in=moves))
    targets = [moves[rule.rule_id] for rule in rules]
    for rule in rules:  # ids are unique: step aside first, so that two rules can exchange theirs
        rule.rule_id = new_rule_id()
    FieldMapping.objects.bulk_update(rules, ["rule_id"])
    for rule, target in zip(rules, targets, strict=True):
        rule.rule_id = target
    FieldMapping.objects.bulk_update(rules, ["rule_id"])
    return True


def _meanings(mapping: Mapping) -> tuple[dict[tuple[Any, ...], str], dict[str, tuple[Any, ...]]]:
    """(rule id by signature in the published version, the signature each id stood for last)."""
    running = mapping.published.document["rules"] if mapping.published else []
    last_meaning: dict[str, tuple[Any, ...]] = {}
    for version in mapping.versions.order_by("number").iterator():
        last_meaning.update({rule["id"]: signature(rule) for rule in version.document["rules"]})
    return {signature(rule): rule["id"] for rule in running}, last_meaning


def fresh_rules(mapping: Mapping, document: dict[str, Any]) -> list[dict[str, Any]]:
    """The rules of a draft on which no pair has agreed yet: publishing gives them ids without last agreed values."""
    published, last_meaning = _meanings(mapping)
    return [
        rule
        for rule in document["rules"]
        if signature(rule) not in published and last_meaning.get(rule["id"]) != signature(rule)
    ]


# The way back from a document to a draft. --------------------------------------------------------------------


def restore_draft(mapping: Mapping, document: dict[str, Any]) -> None:
    """Set the draft to `document`. Rules that are switched off, here or there, stay; call inside a transaction.

    Value maps and policies are shared with other mappings and may have changed since: one that still says the same
    is used, else a copy is made. Raises ValueError where a connection is gone.
    """
    for side in (Side.LEFT, Side.RIGHT):
        data = document[side]
        connection = Connection.objects.filter(pk=data["connection"]).first()
        if connection is None:
            raise ValueError(
                f"The connection {data['connection_name']} of that version is gone. Nothing was changed. "
                "Make the connection again and build the rules on it."
            )
        values = {
            f"{side}_connection": connection,
            f"{side}_object_type": data["object_type"],
            f"{side}_scope": data["scope"],
            f"create_on_{side}": data["create"],
            f"create_defaults_{side}": data["create_defaults"],
            f"on_delete_{side}": data["on_delete"],
            f"close_values_{side}": data["close_values"],
        }
        for name, value in values.items():
            setattr(mapping, name, value)
    for name in ("match_keys", "initial", "poll_seconds", "brakes"):
        setattr(mapping, name, document[name])
    mapping.poll_seconds_idle = document.get("poll_seconds_idle", document["poll_seconds"])
    mapping.schedule = document.get("schedule", {})
    mapping.save()
    kept_ids = [rule["id"] for rule in document["rules"]]
    pairs = {(rule["left"]["path"], rule["right"]["path"]) for rule in document["rules"]}
    off = document.get("off", ())
    for rule in mapping.rules.all():
        replaced = rule.rule_id in kept_ids or (rule.left_field, rule.right_field) in pairs
        if replaced or (rule.enabled and rule.rule_id not in off):
            rule.delete()
        elif rule.enabled:
            rule.enabled = False
            rule.save(update_fields=["enabled"])
    FieldMapping.objects.bulk_create(_restored_rules(mapping, document["rules"]))


def _restored_rules(mapping: Mapping, rules: Iterable[dict[str, Any]]) -> list[FieldMapping]:
    return [
        FieldMapping(
            mapping=mapping,
            rule_id=rule["id"],
            position=position,
            left_field=rule["left"]["path"],
            right_field=rule["right"]["path"],
            direction=rule["direction"],
            transform=rule["transform"],
            params=rule["params"],
            value_map=_restored_map(rule) if rule["entries"] else None,
            policy=_restored_policy(rule["policy"]) if rule.get("own_policy", True) else None,
            one_way_target=rule["one_way_target"],
            initial=rule.get("own_initial", rule["initial"]),
        )
        for position, rule in enumerate(rules)
    ]


def _restored_map(rule: dict[str, Any]) -> ValueMap:
    name = rule.get("value_map") or f"{rule['left']['label']} to {rule['right']['label']}"
    for found in ValueMap.objects.filter(name__startswith=name).order_by("pk"):
        if found.entries == rule["entries"]:
            return found
    return ValueMap.objects.create(name=_free_name(ValueMap, name), entries=rule["entries"])


def _restored_policy(policy: dict[str, Any]) -> ConflictPolicy:
    for found in ConflictPolicy.objects.filter(name__startswith=policy["name"]).order_by("pk"):
        if (found.kind, found.tolerance) == (policy["kind"], policy["tolerance"]):
            return found
    return ConflictPolicy.objects.create(
        name=_free_name(ConflictPolicy, policy["name"]), kind=policy["kind"], tolerance=policy["tolerance"]
    )


def _free_name(model: type[ValueMap] | type[ConflictPolicy], name: str) -> str:
    """`name`, or the first of "name (restored)", "name (restored 2)" … that nothing has."""
    taken = set(model._default_manager.filter(name__startswith=name[:80]).values_list("name", flat=True))
    candidate, number = name, 1
    while candidate in taken:
        candidate = f"{name[:80]} (restored)" if number == 1 else f"{name[:80]} (restored {number})"
        number += 1
    return candidate


def draft_settings(mapping: Mapping) -> dict[str, Any]:
    """The draft as plain data, without any remote metadata: what is compared and kept when it is replaced."""
    return document_of(mapping, [], [])
