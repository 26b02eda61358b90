"""SOQL text → Query: a recursive descent over the tokens, conditions turned into functions.

Knows SELECT with relationship paths, COUNT(), WHERE (comparisons, LIKE, IN, INCLUDES, AND, OR, NOT, brackets),
ORDER BY with NULLS FIRST|LAST, LIMIT and OFFSET. Strings compare without regard to case, `!=` and NOT IN let
null through, comparisons with `<` and `>` do not: as in the vendor's language.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from connections.sandbox import salesforce_schema as schema
from connections.sandbox.salesforce_org import Org
from connections.sandbox.salesforce_paths import Getter, field_at, getter, target_of
from connections.sandbox.salesforce_schema import Doc, Field, SObject
from connections.sandbox.salesforce_values import Problem, stamp_of

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<datetime>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d))
    | (?P<date>\d{4}-\d\d-\d\d)
    | (?P<number>[+-]?\d+(?:\.\d+)?)
    | (?P<word>[A-Za-z_][\w.]*(?::\d+)?)
    | (?P<mark><=|>=|!=|<>|[=<>(),])
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_WORDS = {"select", "from", "where", "order", "by", "limit", "offset", "and", "or", "not", "in", "like", "nulls"}

Predicate = Callable[[Doc], bool]


@dataclass(slots=True)
class Query:
    sobject: SObject
    paths: list[str] = field(default_factory=list)
    count: bool = False
    where: Predicate | None = None
    ids: set[str] | None = None  # records the condition can hold for, where that is known at once
    order: list[tuple[str, bool, bool]] = field(default_factory=list)  # path, descending, nulls last
    limit: int | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


class Parser:
    """Recursive descent over one query's tokens; `query()` returns the Query or raises Problem."""

    def __init__(self, org: Org, text: str, deleted: bool) -> None:
        self.org = org
        self.deleted = deleted
        self.text = text
        self.tokens: list[_Token] = []
        at = 0
        while text[at:].strip():
            match = _TOKEN.match(text, at)
            if not match:
                at += len(text[at:]) - len(text[at:].lstrip())
                raise self._error("MALFORMED_QUERY", f"unexpected char: '{text[at]}'", at)
            kind = str(match.lastgroup)
            self.tokens.append(_Token(kind, match[kind], match.start(kind)))
            at = match.end()
        self.index = 0

    def query(self) -> Query:
        self._word("select")
        start = self.index
        while not self._is("from"):
            self._next("a FROM clause")
        self._next()
        name = self._next("an object name")
        sobject = next((o for n, o in self.org.objects.items() if n.lower() == name.text.lower()), None)
        if sobject is None or "read" in sobject.denied:
            message = (
                f"sObject type '{name.text}' is not supported. If you are attempting to use a custom object, be sure "
                "to append the '__c' after the entity name. Please reference your WSDL or the describe call for the "
                "appropriate names."
            )
            raise self._error("INVALID_TYPE", message, name.at)
        self.query_ = query = Query(sobject)
        after, self.index = self.index, start
        self._select(query)
        self.index = after
        if self._take("where"):
            query.where, query.ids = self._any()
        if self._take("order"):
            self._word("by")
            self._order(query)
        if self._take("limit"):
            query.limit = self._whole_number()
        if self._take("offset"):
            query.offset = self._whole_number()
        if self.index < len(self.tokens):
            raise self._unexpected(self.tokens[self.index])
        return query

    # Clauses -----------------------------------------------------------------------------------------------------

    def _select(self, query: Query) -> None:
        while True:
            token = self._next("a field")
            if token.kind == "word" and token.text.lower() == "count" and self._take("("):
                self._word(")")
                query.count = True
            else:
                query.paths.append(self._path(token))
            if self._is("from"):
                return
            self._word(",")

    def _order(self, query: Query) -> None:
        while True:
            token = self._next("a field")
            path = self._path(token)
            item = field_at(self.org, query.sobject, path)
            if item.long_text or item.type == "multipicklist":
                raise self._error("MALFORMED_QUERY", f"field '{path}' can not be sorted in a query call", token.at)
            down = bool(self._take("desc")) or (bool(self._take("asc")) and False)
            last = False
            if self._take("nulls"):
                last = bool(self._take("last"))
                if not last:
                    self._word("first")
            query.order.append((path, down, last))
            if not self._take(","):
                return

    def _any(self) -> tuple[Predicate, set[str] | None]:
        """a AND b ... or a OR b ...; mixed without brackets is malformed, as it is for the vendor."""
        parts = [self._one()]
        joint = "and" if self._is("and") else "or"
        while self._take(joint):
            parts.append(self._one())
        if self._is("and") or self._is("or"):
            raise self._unexpected(self.tokens[self.index])
        tests = [p for p, _ in parts]
        if len(tests) == 1:
            return parts[0]
        if joint == "and":
            known = [ids for _, ids in parts if ids is not None]
            return (lambda doc: all(t(doc) for t in tests)), min(known, key=len) if known else None
        return (lambda doc: any(t(doc) for t in tests)), None

    def _one(self) -> tuple[Predicate, set[str] | None]:
        if self._take("not"):
            inner, _ = self._one()
            return (lambda doc: not inner(doc)), None
        if self._take("("):
            result = self._any()
            self._word(")")
            return result
        return self._comparison()

    def _comparison(self) -> tuple[Predicate, set[str] | None]:
        token = self._next("a field")
        path = self._path(token)
        item = field_at(self.org, self.query_.sobject, path)
        if item.long_text:
            message = f"field '{item.name}' can not be filtered in a query call"
            raise self._error("INVALID_FIELD", message, token.at)
        get = getter(self.org, self.query_.sobject, path)
        operator = self._next("an operator")
        name = operator.text.lower()
        if name == "not":
            self._word("in")
            name = "not in"
        if name in ("in", "not in", "includes", "excludes"):
            values = self._list(item)
            if name in ("includes", "excludes"):
                return _membership(get, values, name == "excludes"), None
            folded = {_fold(item, v) for v in values}
            if name == "not in":
                return (lambda doc: _fold(item, get(doc)) not in folded), None
            return (lambda doc: _fold(item, get(doc)) in folded), self._direct(path, item, values)
        if name == "like":
            pattern = _like(self._value(item, like=True))
            return (lambda doc: isinstance(get(doc), str) and bool(pattern.match(get(doc)))), None
        if name not in ("=", "!=", "<>", "<", "<=", ">", ">="):
            raise self._unexpected(operator)
        return self._compare(name, path, item, get)

    def _compare(self, name: str, path: str, item: Field, get: Getter) -> tuple[Predicate, set[str] | None]:
        low, high = self._range(item)
        if name == "=":
            if low != high:
                return (lambda doc: get(doc) is not None and low <= get(doc) <= high), None
            return (lambda doc: _fold(item, get(doc)) == low), self._direct(path, item, [low])
        if name in ("!=", "<>"):
            if low != high:
                return (lambda doc: get(doc) is None or not low <= get(doc) <= high), None
            return (lambda doc: _fold(item, get(doc)) != low), None
        if low is None:
            return (lambda doc: False), None
        tests: dict[str, Predicate] = {
            "<": lambda doc: _fold(item, get(doc)) < low,
            "<=": lambda doc: _fold(item, get(doc)) <= high,
            ">": lambda doc: _fold(item, get(doc)) > high,
            ">=": lambda doc: _fold(item, get(doc)) >= low,
        }
        test = tests[name]
        return (lambda doc: get(doc) is not None and test(doc)), None

    def _direct(self, path: str, item: Field, values: Sequence[Any]) -> set[str] | None:
        """The ids a condition on Id or an external id leaves, so that the table need not be walked."""
        if path == "Id":
            return {v for v in values if v}
        # The index leaves out the recycle bin, which queryAll reads too: then the table is walked.
        if self.deleted or "." in path or not (item.unique or item.external_id) or None in values:
            return None
        name = self.query_.sobject.name
        return {d["Id"] for v in values for d in self.org.find_by(name, item, str(v))}

    # Values ------------------------------------------------------------------------------------------------------

    def _list(self, item: Field) -> list[Any]:
        self._word("(")
        values = [self._value(item)]
        while self._take(","):
            values.append(self._value(item))
        self._word(")")
        return values

    def _range(self, item: Field) -> tuple[Any, Any]:
        """First and last stored value the literal stands for; a date literal covers its days."""
        token = self.tokens[self.index] if self.index < len(self.tokens) else None
        span = _date_literal(token.text, self.org.now()) if token and token.kind == "word" else None
        if span is None:
            value = _fold(item, self._value(item))
            return value, value
        self.index += 1
        first, last = span
        if item.type == "datetime":
            return f"{first}T00:00:00.000+0000", f"{last}T23:59:59.999+0000"
        return first, last

    def _value(self, item: Field, like: bool = False) -> Any:
        token = self._next("a value")
        word = token.text.lower()
        if token.kind == "string":
            if item.type in ("datetime", "date", "boolean", "double", "int"):
                kind = {"datetime": "dateTime"}.get(item.type, item.type)
                message = (
                    f"value of filter criterion for field '{item.name}' must be of type {kind} and should not be "
                    "enclosed in quotes"
                )
                raise self._error("INVALID_FIELD", message, token.at)
            if like:
                return token.text[1:-1]
            if odd := re.search(r"\\[^nNrRtTbBfF\"'\\]", re.sub(r"\\\\", "", token.text)):
                raise self._error("MALFORMED_QUERY", f"Illegal string literal: '{odd[0]}'", token.at)
            text = re.sub(r"\\(.)", lambda m: _unescaped(m[1]), token.text[1:-1])
            return (schema.normal_id(text) or text) if item.type in ("id", "reference") else text
        if token.kind == "datetime" and item.type == "datetime":
            return stamp_of(token.text)
        if token.kind == "date" and item.type == "date":
            return token.text
        if token.kind == "number" and item.type in ("double", "int", "currency", "percent"):
            return float(token.text)
        if word == "null":
            return None
        if word in ("true", "false") and item.type == "boolean":
            return word == "true"
        if token.kind in ("string", "datetime", "date", "number") or word in ("true", "false"):
            message = (
                f"value of filter criterion for field '{item.name}' must be of type {item.type} and should be "
                "enclosed in quotes"
            )
            raise self._error("INVALID_FIELD", message, token.at)
        raise self._unexpected(token)

    def _whole_number(self) -> int:
        token = self._next("a number")
        if not token.text.isdigit():
            raise self._unexpected(token)
        return int(token.text)

    # Tokens ------------------------------------------------------------------------------------------------------

    def _path(self, token: _Token) -> str:
        """A field path with each name in the org's own spelling."""
        if token.kind != "word" or token.text.lower() in _WORDS:
            raise self._unexpected(token)
        sobject, names = self.query_.sobject, []
        *relations, last = token.text.split(".")
        if relations and relations[0].lower() == sobject.name.lower():
            relations = relations[1:]
        for name in relations:
            reference = sobject.by_relationship(name)
            if reference is None or reference.hidden:
                message = (
                    f"Didn't understand relationship '{name}' in field path. If you are attempting to use a custom "
                    "relationship, be sure to append the '__r' after the custom relationship name. Please reference "
                    "your WSDL or the describe call for the appropriate names."
                )
                raise self._error("INVALID_FIELD", message, token.at)
            names.append(str(reference.relationship))
            sobject = target_of(self.org, reference)
        item = sobject.find(last)
        if item is None or item.hidden:
            message = (
                f"No such column '{last}' on entity '{sobject.name}'. If you are attempting to use a custom field, be "
                "sure to append the '__c' after the custom field name. Please reference your WSDL or the describe "
                "call for the appropriate names."
            )
            raise self._error("INVALID_FIELD", message, token.at)
        return ".".join([*names, item.name])

    def _is(self, word: str) -> bool:
        return self.index < len(self.tokens) and self.tokens[self.index].text.lower() == word

    def _take(self, word: str) -> bool:
        if self._is(word):
            self.index += 1
            return True
        return False

    def _word(self, word: str) -> None:
        if not self._take(word):
            raise self._unexpected(self.tokens[self.index] if self.index < len(self.tokens) else None)

    def _next(self, wanted: str = "") -> _Token:
        if self.index >= len(self.tokens):
            raise self._unexpected(None)
        self.index += 1
        return self.tokens[self.index - 1]

    def _unexpected(self, token: _Token | None) -> Problem:
        if token is None:
            return self._error("MALFORMED_QUERY", "unexpected token: '<EOF>'", len(self.text))
        return self._error("MALFORMED_QUERY", f"unexpected token: '{token.text}'", token.at)

    def _error(self, code: str, message: str, at: int) -> Problem:
        line = self.text.replace("\n", " ")
        start = max(0, at - 40)
        return Problem(
            code, f"\n{line[start : at + 40]}\n{' ' * (at - start)}^\nERROR at Row:1:Column:{at + 1}\n{message}"
        )


def _fold(item: Field, value: Any) -> Any:
    if isinstance(value, str) and item.type not in ("id", "reference", "datetime") and not item.case_sensitive:
        return value.lower()
    return value


def _unescaped(char: str) -> str:
    return _ESCAPES.get(char.lower(), char)


def _like(raw: str) -> re.Pattern[str]:
    """`raw`: the pattern as written, its escapes not yet resolved: \\% and \\_ stand for themselves."""
    wild = {"%": ".*", "_": "."}
    signs = re.findall(r"\\.|.", str(raw), re.DOTALL)
    parts = (wild.get(s) or re.escape(_unescaped(s[1]) if len(s) > 1 else s) for s in signs)
    return re.compile("".join(parts) + r"\Z", re.IGNORECASE | re.DOTALL)


def _membership(get: Getter, values: Sequence[Any], excluded: bool) -> Predicate:
    """INCLUDES ('a;b', 'c'): a and b together, or c."""
    groups = [{part.lower() for part in str(v).split(";")} for v in values]

    def test(doc: Doc) -> bool:
        held = {part.lower() for part in (get(doc) or "").split(";")}
        return any(group <= held for group in groups) is not excluded

    return test


def _date_literal(word: str, now: float) -> tuple[str, str] | None:
    """First and last day of a date literal, UTC; None for other words."""
    today = datetime.fromtimestamp(now, UTC).date()
    name, _, count = word.upper().partition(":")
    days = int(count) if count else 0
    spans = {
        "TODAY": (0, 0),
        "YESTERDAY": (-1, -1),
        "TOMORROW": (1, 1),
        "LAST_N_DAYS": (-days, 0),
        "NEXT_N_DAYS": (1, days),
    }
    if name not in spans:
        return None
    first, last = spans[name]
    return (today + timedelta(first)).isoformat(), (today + timedelta(last)).isoformat()
