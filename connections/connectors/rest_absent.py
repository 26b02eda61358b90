"""Whether a record lacks what an expression looks at, so that it says nothing of the field: not even that it is empty.

Pure. It walks the expression as JMESPath parsed it, beside the record. What is null or an empty list is there. A key is
missing where the object that should hold it has no such key, in the record itself or in an entry of a list that is
picked from. ⚑ What is left of such a value is not the whole of it: half of two joined texts would look like an edit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from connections.connectors.rest_paths import compiled

Node = Mapping[str, Any]

IN_TURN = ("subexpression", "index_expression", "pipe")  # each part sees what the one before it found
OVER_ENTRIES = ("projection", "filter_projection", "value_projection")


def lacks(expression: str, record: Any) -> bool:
    """True as well for an expression that cannot be followed: then nobody knows what is there."""
    try:
        return _lacks(compiled(expression).parsed, record)
    except (JMESPathError, RecursionError):
        return True


def _lacks(node: Node, value: Any) -> bool:
    kind, parts = node["type"], node["children"]
    if kind == "field":
        return isinstance(value, Mapping) and node["value"] not in value
    if kind in IN_TURN:
        return _in_turn(parts, value)
    if kind in OVER_ENTRIES:
        return _over_entries(node, value)
    if kind == "or_expression":
        return _alternatives(parts, value, _is_true)
    if kind == "and_expression":
        first, second = parts
        return _lacks(first, value) or (_is_true(_found(first, value)) and _lacks(second, value))
    if kind == "function_expression":
        return _function(node, value)
    return any(_lacks(part, value) for part in parts if isinstance(part, Mapping))  # a slice has numbers


def _in_turn(parts: Sequence[Node], value: Any) -> bool:
    for part in parts:
        if _lacks(part, value):
            return True
        value = _found(part, value)
    return False


def _over_entries(node: Node, value: Any) -> bool:
    """What an entry lacks counts, but not of one that a filter passes over for what the entry says."""
    left, right, *filters = node["children"]
    if _lacks(left, value):
        return True
    found = _found(left, value)
    if isinstance(found, Mapping):
        found = list(found.values()) if node["type"] == "value_projection" else []
    for entry in found if isinstance(found, list) else []:
        passed_over = next((each for each in filters if not _is_true(_found(each, entry))), None)
        if _lacks(passed_over or right, entry):
            return True
    return False


def _alternatives(parts: Sequence[Node], value: Any, gives: Any) -> bool:
    """The first that gives something decides. Where none does, all must be there: ⚑ each could have given something.

    A constant is for what is empty, and no word on what is not shown.
    """
    lacking = False
    for part in parts:
        lacking_here = _lacks(part, value)
        if gives(_found(part, value)):
            return lacking_here if _looks(part) else lacking
        lacking = lacking or lacking_here
    return lacking


def _function(node: Node, value: Any) -> bool:
    given = [part for part in node["children"] if part["type"] != "expref"]
    if node["value"] == "not_null":
        return _alternatives(given, value, lambda found: found is not None)
    if any(_lacks(part, value) for part in given):
        return True
    # `&key` is looked up in each entry of the lists beside it.
    keys = [part["children"][0] for part in node["children"] if part["type"] == "expref"]
    lists = [found for part in given if keys and isinstance(found := _found(part, value), list)]
    return any(_lacks(key, entry) for key in keys for entries in lists for entry in entries)


def _looks(node: Node) -> bool:
    """Whether a part looks at the record at all, or is a constant."""
    return node["type"] == "field" or any(_looks(part) for part in node["children"] if isinstance(part, Mapping))


def _found(node: Node, value: Any) -> Any:
    try:
        return TreeInterpreter().visit(node, value)
    except (JMESPathError, TypeError, ValueError, AttributeError, ArithmeticError):
        return None


def _is_true(found: Any) -> bool:
    """As JMESPath has it: 0 is true."""
    return not (found is None or found is False or found in ("", [], {}))
