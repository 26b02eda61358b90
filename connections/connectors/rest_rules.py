"""What the parts of a definition ask of each other, and what a definition lacks before it can be used. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from connections.connectors.rest_document import NAME, DefinitionError, placeholders

if TYPE_CHECKING:
    from connections.connectors.rest_definition import Authentication, Definition, Listing, ObjectType, Webhook

# What templates may name beside the connection's own parameters; each place has some of them.
RESERVED = {
    "address",
    "body",
    "client_id",
    "definition",
    "etag",
    "id",
    "ids",
    "json",
    "key",
    "parent",
    "password",
    "query",
}
RESERVED |= {"since", "timestamp", "user", "value", "version"}
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Set by the client itself, or a secret that belongs into the sign-in, where it is encrypted and never exported.
NOT_OURS = {"authorization", "connection", "content-length", "cookie", "host", "proxy-authorization", "te"}
NOT_OURS |= {"transfer-encoding", "upgrade"}
TOKEN_METHODS = ("client_credentials", "login")

Place = tuple[str, ...]


def check(definition: Definition) -> None:
    """Raises DefinitionError for the first thing that cannot be right."""
    own = _parameters(definition)
    _authentication(definition.authentication, own)
    for name, value in definition.headers.items():
        _header(name, ("headers",))
        _named(value, {"address"} | own, ("headers", name))
    if definition.account:
        _path(definition.account.path, own | {"user"}, ("account", "path"))
    if definition.people:
        _path(definition.people.path, own | {"query"}, ("people", "path"))
        _all(definition.people.parameters, own | {"query"}, ("people", "parameters"))
    for header in (definition.limits.wait_header, definition.limits.remaining_header, definition.limits.reset_header):
        _header(header, ("limits",), optional=True)
    if definition.limits.per_second <= 0 or definition.limits.concurrency < 1:
        raise DefinitionError(("limits",), "at least one call at a time and some calls per second are needed")
    _once((each.name for each in definition.object_types), ("object_types",))
    for each in definition.object_types:
        _object_type(each, definition, own)
    if definition.webhook:
        _webhook(definition.webhook, len(definition.object_types))


def gaps(definition: Definition) -> list[str]:
    """What is missing before a connection can use it, one sentence each; empty where it is complete."""
    found = [] if definition.object_types else ["There is no object type yet."]
    for each in definition.object_types:
        what = f"The object type “{each.label or each.name}”"
        if not each.place.id:
            found.append(f"{what} does not say where a record has its id.")
        if not each.list or not each.list.path:
            found.append(f"{what} has no list.")
        if not (each.read and each.read.path) and not each.read_many and not each.parent:
            found.append(f"{what} has no way to read one record.")
        if not each.fields:
            found.append(f"{what} has no fields.")
    return found


def _parameters(definition: Definition) -> set[str]:
    _once((each.name for each in definition.parameters), ("parameters",))
    for each in definition.parameters:
        if not NAME.fullmatch(each.name) or each.name in RESERVED:
            raise DefinitionError(
                ("parameters", f"“{each.name}”"), "a name of letters, digits and _ is expected that means nothing else"
            )
    return {each.name for each in definition.parameters}


def _authentication(how: Authentication, own: set[str]) -> None:
    place = ("authentication",)
    if how.method in ("header", "query") and not how.name:
        raise DefinitionError((*place, "name"), f"the name of the {how.method} that carries the key is needed")
    if how.method in ("header", *TOKEN_METHODS) and how.name and not HEADER.fullmatch(how.name):
        raise DefinitionError((*place, "name"), f"“{how.name}” is no name of a header")
    if how.method in TOKEN_METHODS:
        if not how.token_path:
            raise DefinitionError((*place, "token_path"), "the address that gives the token is needed")
        if not how.token:
            raise DefinitionError((*place, "token"), "where the answer has the token is needed")
        if "{" in urlsplit(how.token_path).netloc:
            raise DefinitionError((*place, "token_path"), "the host that gets the secret has to be written out")
        if not re.match(r"https?://", how.token_path):
            _path(how.token_path, own, (*place, "token_path"))
        _named(how.token_path, own, (*place, "token_path"))
    _all(how.body, own | {"user", "password", "key"}, (*place, "body"))


def _object_type(each: ObjectType, definition: Definition, own: set[str]) -> None:
    place: Place = ("object_types", f"“{each.name}”")
    if not each.name or len(each.name) > 100:
        raise DefinitionError((*place, "name"), "a name of 1 to 100 characters is needed")
    names = {other.name: other for other in definition.object_types}
    if each.parent and (each.parent not in names or names[each.parent].parent):
        raise DefinitionError((*place, "parent"), "the name of an object type that has no parent itself is expected")
    above = {"parent"} if each.parent else set()
    _named(each.link, own | {"id", "key"} | above, (*place, "link"))
    _fields(each, own, place)
    if each.list:
        _listing(each, each.list, own | above, (*place, "list"))
    if each.read:
        _path(each.read.path, own | above | {"id"}, (*place, "read", "path"))
        _all(each.read.parameters, own | above | {"id"}, (*place, "read", "parameters"))
    if each.read_many:
        many = each.read_many
        _path(many.path, own | {"ids"}, (*place, "read_many", "path"))
        _all(many.parameters, own | {"ids"}, (*place, "read_many", "parameters"))
        _all(many.body, own | {"ids"}, (*place, "read_many", "body"))
        _all(many.each, own | {"id"}, (*place, "read_many", "each"))
        if "ids" not in placeholders_in([many.path, many.parameters, many.body]):
            raise DefinitionError((*place, "read_many"), "{ids} is needed in its path, parameters or body")
        if many.size < 1:
            raise DefinitionError((*place, "read_many", "size"), "at least 1 is expected")
    if each.create:
        _path(each.create.path, own | above, (*place, "create", "path"))
        _all(each.create.constant, own, (*place, "create", "constant"))
    for name, section in (("update", each.update), ("delete", each.delete)):
        if section:
            _path(section.path, own | above | {"id"}, (*place, name, "path"))
            if "id" not in placeholders(section.path):
                raise DefinitionError((*place, name, "path"), "{id} is needed, or every record would be meant")
    if each.update:
        _all(each.update.constant, own, (*place, "update", "constant"))
    if each.read and each.read.path and "id" not in placeholders_in([each.read.path, each.read.parameters]):
        raise DefinitionError((*place, "read", "path"), "{id} is needed")
    _condition(each, place)
    if each.trust.not_found_is_gone and each.trust.not_found_tells_nothing:
        raise DefinitionError((*place, "trust"), "what is not found was deleted, or says nothing; not both")
    if each.key:
        _header(each.key.header, (*place, "key", "header"), optional=True)
        _named(each.key.search_value, own | {"json", "value"}, (*place, "key", "search_value"))
        if bool(each.key.read) != bool(each.key.write):
            raise DefinitionError((*place, "key"), "where the key is sent and where a record has it belong together")


def _fields(each: ObjectType, own: set[str], place: Place) -> None:
    _once((one.name for one in each.fields), (*place, "fields"))
    for one in each.fields:
        here = (*place, "fields", f"“{one.name}”")
        if not one.name:
            raise DefinitionError(here, "a name is needed")
        if one.kind == "rich_text" and not one.format:
            raise DefinitionError((*here, "format"), "html, markdown or plain is expected")
        if one.format and one.kind != "rich_text":
            raise DefinitionError((*here, "format"), "only a rich text has one")
        if (one.options or one.options_from) and one.kind not in ("option", "set"):
            raise DefinitionError((*here, "options"), "only an option or a set has them")
        if one.separator and one.kind != "set":
            raise DefinitionError((*here, "separator"), "only a set has one")
        shown = [option.name or str(option.value) for option in one.options]
        _once(shown, (*here, "options"))
        if one.options_from:
            _path(one.options_from.path, own, (*here, "options_from", "path"))
        _named(one.search_value, own | {"json", "value"}, (*here, "search_value"))
    _once((one.name for one in each.scope), (*place, "scope"))
    for limit in each.scope:
        here = (*place, "scope", f"“{limit.name}”")
        _named(limit.value, own | {"value"}, (*here, "value"))
        if not limit.read:
            raise DefinitionError((*here, "read"), "where a record has it is needed, so that a record can be judged")


def _listing(each: ObjectType, listing: Listing, own: set[str], place: Place) -> None:
    paging, changed = listing.paging, listing.changed
    asked = own | ({"since"} if changed else set())
    _path(listing.path, own, (*place, "path"))
    _all(listing.parameters, asked, (*place, "parameters"))
    _all(listing.body, asked, (*place, "body"))
    if each.parent and listing.path and "parent" not in placeholders_in([listing.path, listing.parameters]):
        raise DefinitionError((*place, "path"), "{parent} is needed: the list of one parent's records is meant")
    if listing.body is not None and listing.method == "GET":
        raise DefinitionError((*place, "body"), "only a list that is asked by POST has a body")
    if paging.style in ("page", "offset", "cursor") and not paging.parameter:
        raise DefinitionError((*place, "paging", "parameter"), "the name of the parameter is needed")
    if paging.style == "cursor" and not paging.cursor:
        raise DefinitionError((*place, "paging", "cursor"), "where the answer has the next cursor is needed")
    _header(paging.next_header, (*place, "paging", "next_header"), optional=True)
    if paging.style == "next_url" and not paging.next and not paging.next_header:
        raise DefinitionError((*place, "paging", "next"), "where the answer has the next address is needed")
    if paging.size < 1 or paging.max_pages < 0:
        raise DefinitionError((*place, "paging", "size"), "at least 1 is expected")
    if paging.short_ends and not paging.size_parameter:
        raise DefinitionError(
            (*place, "paging", "short_ends"), "only where a page's size is asked for can a page be short"
        )
    if paging.max_pages and not (changed and changed.oldest_first):
        raise DefinitionError(
            (*place, "paging", "max_pages"), "going on from the last time needs a list of changes, oldest first"
        )
    if changed:
        if not changed.parameter and "since" not in placeholders_in([listing.parameters, listing.body]):
            raise DefinitionError((*place, "changed"), "a parameter, or {since} in the list's own, is needed")
        _named(changed.value, own | {"since"}, (*place, "changed", "value"))
        _all(changed.parameters, own | {"since"}, (*place, "changed", "parameters"))
        if not each.place.updated_at:
            raise DefinitionError((*place, "changed"), "where a record has the time of its last change is needed")
        if changed.granularity <= 0:
            raise DefinitionError((*place, "changed", "granularity"), "more than 0 seconds are expected")


def _condition(each: ObjectType, place: Place) -> None:
    condition = each.condition
    if not condition:
        return
    here = (*place, "condition")
    used = placeholders(condition.value)
    if len(used) != 1 or not used <= {"version", "etag"}:
        raise DefinitionError((*here, "value"), "{version} or {etag} is expected")
    if condition.style == "header":
        _header(condition.header, (*here, "header"))
    elif not condition.field:
        raise DefinitionError((*here, "field"), "where the version is sent is needed")
    if "version" in used and not each.place.version:
        raise DefinitionError(here, "where a record has its version is needed")
    if "etag" in used and not (each.read and each.read.path):
        raise DefinitionError(here, "a way to read one record is needed, whose answer has the ETag")


def _webhook(webhook: Webhook, types: int) -> None:
    used = placeholders(webhook.signed)
    if not used <= {"body", "timestamp"}:
        raise DefinitionError(("webhook", "signed"), "{body} and {timestamp} are expected")
    if webhook.algorithm != "secret" and "body" not in used:
        raise DefinitionError(("webhook", "signed"), "{body} is needed, or anybody could change it")
    if "timestamp" in used and not webhook.timestamp_header:
        raise DefinitionError(("webhook", "timestamp_header"), "the header that carries the time is needed")
    for header in (webhook.signature_header, webhook.timestamp_header, webhook.delivery_header):
        _header(header, ("webhook",), optional=True)
    if types > 1 and not webhook.object_type:
        raise DefinitionError(("webhook", "object_type"), "where an event names its object type is needed")


def placeholders_in(value: Any) -> frozenset[str]:
    """Every placeholder in the texts of a value."""
    if isinstance(value, str):
        return placeholders(value)
    inner: Iterable[Any] = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return frozenset().union(*(placeholders_in(each) for each in inner))


def _texts(value: Any, place: Place) -> Iterator[tuple[str, Place]]:
    if isinstance(value, str):
        yield value, place
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _texts(each, (*place, str(key)))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each, place)


def _all(value: Any, known: set[str], place: Place) -> None:
    for text, here in _texts(value, place):
        _named(text, known, here)


def _named(text: str, known: set[str], place: Place) -> None:
    for name in sorted(placeholders(text, place) - known):
        allowed = ", ".join(f"{{{each}}}" for each in sorted(known)) or "none"
        raise DefinitionError(place, f"{{{name}}} means nothing here; placeholders are {allowed}")


def _path(path: str, known: set[str], place: Place) -> None:
    """A path below the connection's address."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path) or path.startswith("//"):
        raise DefinitionError(place, "a path below the connection's address is expected, not a whole address")
    if any(sign in path for sign in "\\#\n\t ") or ".." in path.split("?")[0].split("/"):
        raise DefinitionError(place, f"“{path}” is no path")
    _named(path, known, place)


def _header(name: str, place: Place, optional: bool = False) -> None:
    if optional and not name:
        return
    if not HEADER.fullmatch(name):
        raise DefinitionError(place, f"“{name}” is no name of a header")
    if name.lower() in NOT_OURS and place[0] == "headers":
        raise DefinitionError(place, f"“{name}” cannot be set here; a secret belongs into the sign-in")


def _once(names: Iterable[str], place: Place) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DefinitionError(place, f"“{name}” is there twice")
        seen.add(name)
