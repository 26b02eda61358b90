"""The configuration file: YAML text to checked plain data and back.

Pure: no Django, no HTTP library, no clock. The file is a person's and may come from anywhere, so nothing in it is
believed: no tags, no anchors or aliases (one line of them can stand for gigabytes), no repeated or unknown keys.

Its shape, every section optional:

    version: 1
    connections: {Jira: {kind, address, settings: {}, secrets: {token: ENVIRONMENT_VARIABLE}}}
    policies:    {Newest wins: {kind, tolerance, description}}
    value_maps:  {Priority: {entries: [{left, right}], description}}
    mappings:    {support: {name, description, left: SIDE, right: SIDE, match_keys, initial, poll_seconds,
                            poll_seconds_idle, schedule, brakes, rules: [RULE]}}
    SIDE = {connection, object_type, scope, create, create_defaults, on_delete, close_values}
    RULE = {left, right, direction, transform, params, value_map, policy, one_way_target, initial, enabled}
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from mappings import brakes, schedules

FORMAT = 1
SIZE_LIMIT = 2 * 1024 * 1024  # a hundred mappings with a hundred rules each take about 1.5 MB
DEPTH_LIMIT = 20  # our own deepest path is 7; a parser recurses on what it is given
SECTIONS = ("connections", "policies", "value_maps", "mappings")
ENVIRONMENT_NAME = re.compile(r"[A-Z_][A-Z0-9_]*\Z")
SLUG = re.compile(r"[-a-zA-Z0-9_]{1,100}\Z")


class ConfigError(Exception):
    """The file cannot be used; nothing was changed. `problems`: all findings, each with its place in the file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Loader(yaml.SafeLoader):
    """YAML with the types of JSON only: dates and `No` stay text, 16:30 stays text."""

    yaml_implicit_resolvers: dict[Any, Any] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConfigError(
                    [f"Line {key_node.start_mark.line + 1}: the key {key!r} must be text; put it in quotes."]
                )
            if key in seen:
                raise ConfigError([f"Line {key_node.start_mark.line + 1}: the key {key!r} stands there twice."])
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|false)\Z"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:null|~|)\Z"), ["n", "~", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"-?(?:0|[1-9][0-9]{0,17})\Z"), list("-0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"-?[0-9]{1,17}\.[0-9]{1,17}\Z"), list("-0123456789")
)


class _Dumper(yaml.SafeDumper):
    """Never writes an anchor, even where one list appears twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump(config: Mapping[str, Any]) -> str:
    """The file's text. Every value that YAML might take for something else is quoted by the dumper."""
    return yaml.dump(
        {"version": FORMAT, **config}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, indent=2
    )


def load(text: str) -> dict[str, Any]:
    """The file as checked data, defaults filled in: {section: {name: settings}}. Raises ConfigError."""
    data = _parse(text)
    return _Checker().config(data)


def _parse(text: str) -> Any:
    if len(text.encode("utf-8", "surrogatepass")) > SIZE_LIMIT:
        raise ConfigError([f"The file is larger than {SIZE_LIMIT // 1024 // 1024} MB. Nothing was read. Split it."])
    try:
        _refuse_tricks(text)
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader with fewer types
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f"Line {mark.line + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError([f"{line}the file is not valid YAML: {problem}."]) from None


def _refuse_tricks(text: str) -> None:
    """Look at the events before anything is built from them."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError([f"Line {line}: anchors and aliases (& and *) are not allowed. Write the value out."])
        if tag := getattr(event, "tag", None):
            raise ConfigError([f"Line {line}: tags ({tag}) are not allowed. Write a plain value."])
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_LIMIT:
            raise ConfigError([f"Line {line}: nested deeper than {DEPTH_LIMIT} levels."])
    if documents > 1:
        raise ConfigError(["The file holds several YAML documents (---). Put everything into one."])


# Schema. -----------------------------------------------------------------------------------------------------

REQUIRED = object()


@dataclass(frozen=True, slots=True)
class _Key:
    """One allowed key: `type` names a check of _Checker, `default` fills in what is left out."""

    type: str
    default: Any = REQUIRED
    choices: tuple[str, ...] = ()


INITIAL = ("fill_empty", "left", "right", "newest", "review")
CONNECTION = {
    "kind": _Key("text"),
    "address": _Key("text"),
    "settings": _Key("object", {}),
    "secrets": _Key("secrets", {}),
}
POLICY = {
    "kind": _Key("text", choices=("review", "left", "right", "newest", "merge_sets", "merge_text")),
    "tolerance": _Key("number", 2.0),
    "description": _Key("text", ""),
}
VALUE_MAP = {"entries": _Key("entries"), "description": _Key("text", "")}
SIDE = {
    "connection": _Key("text"),
    "object_type": _Key("text"),
    "scope": _Key("object", {}),
    "create": _Key("boolean", True),
    "create_defaults": _Key("object", {}),
    "on_delete": _Key("text", "review", ("review", "ignore", "unlink", "close", "delete")),
    "close_values": _Key("object", {}),
}
MAPPING = {
    "name": _Key("text"),
    "description": _Key("text", ""),
    "left": _Key("side"),
    "right": _Key("side"),
    "match_keys": _Key("match_keys", []),
    "initial": _Key("text", "fill_empty", INITIAL),
    "poll_seconds": _Key("count", 15),
    "poll_seconds_idle": _Key("count", 60),
    "schedule": _Key("schedule", {}),
    "brakes": _Key("brakes", {}),
    "rules": _Key("rules", []),
}
RULE = {
    "left": _Key("text"),
    "right": _Key("text"),
    "direction": _Key("text", "both", ("both", "to_right", "to_left")),
    "transform": _Key("text", "same"),
    "params": _Key("object", {}),
    "value_map": _Key("text", ""),
    "policy": _Key("text", ""),
    "one_way_target": _Key("text", "keep", ("keep", "enforce")),
    "initial": _Key("text", "", ("", *INITIAL)),
    "enabled": _Key("boolean", True),
}
SHAPES = {"connections": CONNECTION, "policies": POLICY, "value_maps": VALUE_MAP, "mappings": MAPPING}


class _Checker:
    """Collects every finding before it gives up, so that a file is corrected in one go."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def config(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise ConfigError(["The file must be a mapping with the sections " + ", ".join(SECTIONS) + "."])
        if data.get("version") != FORMAT:
            self.say("version", f"must be {FORMAT}: the format this release reads")
        for key in sorted(set(data) - {"version", *SECTIONS}):
            self.say(key, "is not a section; known are " + ", ".join(SECTIONS))
        result: dict[str, Any] = {}
        for section in SECTIONS:
            if section not in data:
                continue
            items = self.check_object(data[section] if data[section] is not None else {}, section)
            for name in items:
                if not name.strip() or len(name) > 100:
                    self.say(f"{section}.{name}", "a name has 1 to 100 characters")
                if section == "mappings" and not SLUG.match(name):
                    self.say(f"{section}.{name}", "use letters, digits, - and _ only: it is part of addresses")
            result[section] = {
                name: self.shaped(item, f"{section}.{name}", SHAPES[section]) for name, item in items.items()
            }
        if self.problems:
            raise ConfigError(self.problems)
        return result

    def say(self, where: str, problem: str) -> None:
        self.problems.append(f"{where}: {problem}.")

    def shaped(self, data: Any, where: str, shape: Mapping[str, _Key]) -> dict[str, Any]:
        data = self.check_object(data, where)
        for key in sorted(set(data) - set(shape)):
            self.say(f"{where}.{key}", "is not known here; known are " + ", ".join(shape))
        result = {}
        for name, key in shape.items():
            if name not in data:
                if key.default is REQUIRED:
                    self.say(f"{where}.{name}", "is missing")
                result[name] = None if key.default is REQUIRED else key.default
                continue
            value = getattr(self, f"check_{key.type}")(data[name], f"{where}.{name}")
            if key.choices and isinstance(value, str) and value not in key.choices:
                self.say(f"{where}.{name}", f"{value!r} is none of " + ", ".join(c or "(empty)" for c in key.choices))
            result[name] = value
        return result

    def check_text(self, value: Any, where: str) -> str:
        if not isinstance(value, str):
            self.say(where, f"must be text, not {value!r}; put it in quotes")
            return ""
        return value

    def check_boolean(self, value: Any, where: str) -> bool:
        if not isinstance(value, bool):
            self.say(where, f"must be true or false, not {value!r}")
        return bool(value)

    def check_number(self, value: Any, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            self.say(where, f"must be a number of at least 0, not {value!r}")
            return 0.0
        return float(value)

    def check_count(self, value: Any, where: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2**31 - 1:
            self.say(where, f"must be a whole number of at least 1, not {value!r}")
            return 1
        return value

    def check_object(self, value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.say(where, "must be a mapping (name: value)")
            return {}
        return value

    def check_list(self, value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            self.say(where, "must be a list (- item)")
            return []
        return value

    def check_secrets(self, value: Any, where: str) -> dict[str, str]:
        secrets = self.check_object(value, where)
        for name, variable in secrets.items():
            if not isinstance(variable, str) or not ENVIRONMENT_NAME.match(variable):
                # The value is not repeated: it may be the secret itself.
                self.say(f"{where}.{name}", "must be the name of an environment variable in capitals, never the secret")
        return secrets

    def check_entries(self, value: Any, where: str) -> list[dict[str, Any]]:
        entries = []
        for number, entry in enumerate(self.check_list(value, where), start=1):
            place = f"{where}[{number}]"
            entry = self.check_object(entry, place)
            if set(entry) != {"left", "right"}:
                self.say(place, "must have left and right and nothing else")
            elif any(isinstance(side, dict | list) for side in entry.values()):
                self.say(place, "left and right must be plain values")
            entries.append({"left": entry.get("left"), "right": entry.get("right")})
        return entries

    def check_brakes(self, value: Any, where: str) -> dict[str, Any]:
        wrong = brakes.problem(value)
        if wrong:
            self.say(where, wrong)
            return {}
        return dict(value)

    def check_schedule(self, value: Any, where: str) -> dict[str, Any]:
        wrong = schedules.problem(value)
        if wrong:
            self.say(where, wrong)
            return {}
        return {} if schedules.kind_of(value) == "live" else dict(value)

    def check_match_keys(self, value: Any, where: str) -> list[list[dict[str, str]]]:
        ways = []
        for number, way in enumerate(self.check_list(value, where), start=1):
            place = f"{where}[{number}]"
            pairs = self.check_list(way, place)
            if not pairs:
                self.say(place, "must name at least one pair of fields")
            ways.append([self.shaped(pair, place, {"left": _Key("text"), "right": _Key("text")}) for pair in pairs])
        return ways

    def check_side(self, value: Any, where: str) -> dict[str, Any]:
        return self.shaped(value, where, SIDE)

    def check_rules(self, value: Any, where: str) -> list[dict[str, Any]]:
        rules = []
        seen = set()
        for number, rule in enumerate(self.check_list(value, where), start=1):
            rule = self.shaped(rule, f"{where}[{number}]", RULE)
            pair = (rule["left"], rule["right"])
            if pair in seen:
                self.say(f"{where}[{number}]", f"{pair[0]} and {pair[1]} have a rule already")
            seen.add(pair)
            rules.append(rule)
        return rules
