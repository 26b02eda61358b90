"""A subset of JQL for the Jira stand-in: text to a syntax tree, a tree to a predicate over issues.

Pure. What a field is called and how its values are found is told by the caller as `Clause`s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from functools import cmp_to_key
from typing import Any

Issue = Mapping[str, Any]
Predicate = Callable[[Issue], bool]

# The limit the API description names for orderBy.
MAX_ORDER_FIELDS = 7


class JqlError(ValueError):
    """A query Jira would refuse; str() is its message."""


@dataclass(frozen=True)
class Comparison:
    field: str
    operator: str  # = != > >= < <= ~ !~ in, not in, is, is not
    values: tuple[Any, ...]  # str, int, Call or None (EMPTY)


@dataclass(frozen=True)
class Call:
    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Both:
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Either:
    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Not:
    part: Any


@dataclass(frozen=True)
class Query:
    where: Any  # None: unbounded
    order: tuple[tuple[str, bool], ...]  # (field, descending)


@dataclass(frozen=True)
class Clause:
    """A field in a query.

    `kind`: "exact" (compared with =, in), "text" (~), "date" (epoch ms), "number", "day" ("YYYY-MM-DD").
    `get`: the issue's comparable value or list of values. `resolve`: a literal as written → comparable values,
    raising JqlError for one that does not exist.
    """

    kind: str
    get: Callable[[Issue], Any]
    resolve: Callable[[Any], list[Any]] | None = None


TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
    |(?P<property>issue\.property\[[^\]]+\](?:\.[\w.]+)?)
    |(?P<cf>cf\[\d+\])
    |(?P<op>!=|!~|>=|<=|=|~|>|<|\(|\)|,)
    |(?P<word>[^\s"'()=!~<>,\[\]]+)
    )""",
    re.VERBOSE,
)
WORD = re.compile(r"\w(?:\w|(?<=[^\W\d_])['’.:·](?=[^\W\d_])|(?<=\d)['’.,;](?=\d))*")


def parse(text: str) -> Query:
    """The query's tree. Raises JqlError."""
    return _Parser(_tokens(text)).query()


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = TOKEN.match(text, position)
        if not match:
            raise JqlError(f"Error in the JQL Query: The character '{text[position:].lstrip()[:1]}' is not expected.")
        position = match.end()
        kind = str(match.lastgroup)
        value = match[kind]
        if kind == "string":
            value = re.sub(r"\\(.)", r"\1", value[1:-1])
        tokens.append((kind, value))
    return tokens


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self, offset: int = 0) -> tuple[str, str]:
        return self.tokens[self.at + offset] if self.at + offset < len(self.tokens) else ("end", "")

    def word(self, *words: str) -> bool:
        kind, value = self.peek()
        if kind == "word" and value.lower() in words:
            self.at += 1
            return True
        return False

    def symbol(self, symbol: str) -> bool:
        if self.peek() == ("op", symbol):
            self.at += 1
            return True
        return False

    def fail(self) -> JqlError:
        kind, value = self.peek()
        if kind == "end":
            return JqlError("Error in the JQL Query: The query ends before it is complete.")
        return JqlError(f"Error in the JQL Query: Expecting operator or value but got '{value}'.")

    def query(self) -> Query:
        at_order = self.peek()[1].lower() == "order" and self.peek(1)[1].lower() == "by"
        where = None if at_order or self.peek()[0] == "end" else self.either()
        order = self.order() if self.word("order") else ()
        if self.peek()[0] != "end":
            raise self.fail()
        return Query(where, order)

    def order(self) -> tuple[tuple[str, bool], ...]:
        if not self.word("by"):
            raise self.fail()
        fields = []
        while True:
            kind, value = self.peek()
            if kind not in ("word", "string", "cf"):
                raise self.fail()
            self.at += 1
            descending = self.word("desc")
            if not descending:
                self.word("asc")
            fields.append((value, descending))
            if not self.symbol(","):
                break
        if len(fields) > MAX_ORDER_FIELDS:
            raise JqlError(f"The order by clause can contain a maximum of {MAX_ORDER_FIELDS} fields.")
        return tuple(fields)

    def either(self) -> Any:
        parts = [self.both()]
        while self.word("or") or self.symbol("||"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def both(self) -> Any:
        parts = [self.one()]
        while self.word("and"):
            parts.append(self.one())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def one(self) -> Any:
        if self.word("not"):
            return Not(self.one())
        if self.symbol("("):
            inner = self.either()
            if not self.symbol(")"):
                raise self.fail()
            return inner
        return self.comparison()

    def comparison(self) -> Comparison:
        kind, field = self.peek()
        if kind not in ("word", "string", "cf", "property"):
            raise self.fail()
        self.at += 1
        kind, operator = self.peek()
        if kind == "op" and operator not in ("(", ")", ","):
            self.at += 1
            return Comparison(field, operator, (self.operand(),))
        if self.word("is"):
            return Comparison(field, "is not" if self.word("not") else "is", (self.operand(),))
        negated = self.word("not")
        if not self.word("in"):
            raise self.fail()
        return Comparison(field, "not in" if negated else "in", self.operands())

    def operands(self) -> tuple[Any, ...]:
        if not self.symbol("("):
            return (self.operand(),)
        values = [self.operand()]
        while self.symbol(","):
            values.append(self.operand())
        if not self.symbol(")"):
            raise self.fail()
        return tuple(values)

    def operand(self) -> Any:
        kind, value = self.peek()
        if kind not in ("word", "string"):
            raise self.fail()
        self.at += 1
        if kind == "string":
            return value
        if self.symbol("("):
            arguments = []
            while not self.symbol(")"):
                if self.peek()[0] not in ("word", "string"):
                    raise self.fail()
                arguments.append(self.peek()[1])
                self.at += 1
                self.symbol(",")
            return Call(value, tuple(arguments))
        if value.lower() in ("empty", "null"):
            return None
        return int(value) if re.fullmatch(r"-?\d+", value) else value


# ---- meaning ----------------------------------------------------------------------------------------------

DATE_FORMS = ("%Y/%m/%d %H:%M", "%Y-%m-%d %H:%M", "%Y/%m/%d", "%Y-%m-%d")
PERIOD = re.compile(r"(?P<sign>-?)(?P<parts>(\d+[wdhm]\s*)+)")
PERIOD_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes"}


def date_value(field: str, value: Any, now: float, zone: tzinfo) -> int:
    """A date as written → epoch milliseconds. Text is read in `zone`, at minute resolution; a number is taken as is."""
    if isinstance(value, int):
        return value
    text = str(value).strip()
    for form in DATE_FORMS:
        try:
            return int(datetime.strptime(text, form).replace(tzinfo=zone).timestamp() * 1000)
        except ValueError:
            continue
    period = PERIOD.fullmatch(text)
    if not period:
        raise JqlError(
            f"Date value '{text}' for field '{field}' is invalid. Valid formats include: 'yyyy/MM/dd HH:mm', "
            "'yyyy-MM-dd HH:mm', 'yyyy/MM/dd', 'yyyy-MM-dd', or a period format e.g. '-5d', '4w 2d'."
        )
    delta = timedelta()
    for number, unit in re.findall(r"(\d+)([wdhm])", period["parts"]):
        delta += timedelta(**{PERIOD_UNITS[unit]: int(number)})
    seconds = -delta.total_seconds() if period["sign"] else delta.total_seconds()
    return int((now + seconds) * 1000)


def predicate(tree: Any, clause: Callable[[str], Clause]) -> Predicate:
    """A function telling whether an issue fits. `clause` finds a field by its name or raises JqlError."""
    match tree:
        case Both(parts):
            both = [predicate(p, clause) for p in parts]
            return lambda issue: all(p(issue) for p in both)
        case Either(parts):
            either = [predicate(p, clause) for p in parts]
            return lambda issue: any(p(issue) for p in either)
        case Not(part):
            inner = predicate(part, clause)
            return lambda issue: not inner(issue)
        case Comparison():
            return _comparison(tree, clause(tree.field))
    raise JqlError("Error in the JQL Query.")


ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
}


def _values(clause: Clause, issue: Issue) -> list[Any]:
    value = clause.get(issue)
    values = value if isinstance(value, list) else [value]
    return [v for v in values if v is not None and v != ""]


def _comparison(node: Comparison, clause: Clause) -> Predicate:
    operator = node.operator
    if operator in ("is", "is not") or node.values == (None,):
        if node.values != (None,):
            raise JqlError(f"The operator '{operator}' can only be used with EMPTY or NULL.")
        wants_empty = operator in ("is", "=", "in")
        return lambda issue: (not _values(clause, issue)) is wants_empty
    if operator in ("~", "!~"):
        if clause.kind != "text":
            raise JqlError(f"The operator '{operator}' is not supported by the '{node.field}' field.")
        words = _words(str(node.values[0]))
        wanted = operator == "~"
        return lambda issue: _has_words(_values(clause, issue), words) is wanted
    resolved = [r for v in node.values for r in (clause.resolve(v) if clause.resolve else [v])]
    if operator in ORDERINGS:
        if clause.kind not in ("date", "number", "day"):
            raise JqlError(f"The operator '{operator}' is not supported by the '{node.field}' field.")
        compare, bound = ORDERINGS[operator], resolved[0]
        return lambda issue: any(compare(v, bound) for v in _values(clause, issue))
    if clause.kind == "text":
        raise JqlError(f"The operator '{operator}' is not supported by the '{node.field}' field.")
    options = {_folded(v) for v in resolved}
    if operator in ("=", "in"):
        return lambda issue: any(_folded(v) in options for v in _values(clause, issue))
    # As in Jira, an empty field is found by neither = nor !=.
    return lambda issue: bool(values := _values(clause, issue)) and all(_folded(v) not in options for v in values)


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _words(text: str) -> list[str]:
    """The words of a text as Jira's index (Lucene) parts them, by the word boundaries of Unicode annex 29."""
    return [word.lower() for word in WORD.findall(text)]


def _has_words(texts: list[str], words: list[str]) -> bool:
    found = {word for text in texts for word in _words(text)}
    return bool(words) and all(w in found for w in words)


def ordering(
    order: tuple[tuple[str, bool], ...], clause: Callable[[str], Clause]
) -> tuple[Callable[[Issue], list[Any]], Callable[[list[Any]], Any]]:
    """(position of an issue as a JSON value, sort key of a position) for ORDER BY.

    Empty values come last; the id breaks ties, newest first without ORDER BY, so that a page can continue after
    any position.
    """
    clauses = [clause(name) for name, _ in order]
    directions = [descending for _, descending in order] + [not order]

    def position(issue: Issue) -> list[Any]:
        keys: list[Any] = []
        for one in clauses:
            values = _values(one, issue)
            keys.append(_folded(min(values)) if values else None)
        return [*keys, int(issue["id"])]

    def compare(a: list[Any], b: list[Any]) -> int:
        for x, y, descending in zip(a, b, directions, strict=True):
            if x == y:
                continue
            if x is None or y is None:
                return 1 if x is None else -1
            return (1 if x > y else -1) * (-1 if descending else 1)
        return 0

    return position, cmp_to_key(compare)
