"""The description of a REST API as people give it: the format, as frozen dataclasses. Pure.

`parse(document)` makes a `Definition` of plain data (JSON, or YAML without tags), `dump(definition)` the plain data
again, without what is left at its default. `gaps(definition)` says what is missing before it can be used: a definition
that grows section by section is parsed at any time. Nothing in it is code: an `Expression` is JMESPath, a `Template` is
text with `{placeholders}` of the names that its comment lists, and of the connection's own parameters (`{{` is a
brace). A `DefinitionError` names its place in the words of the form.

A section of the form is a class, in the order of the form; its fields are the inputs, the comment beside each its help:

1. *System*: `Definition` (name, address_help, notes, headers) and `Parameter` (what a connection fills in)
2. *Sign-in*: `Authentication`; which inputs of a connection follow from it, and which are secret: `rest_form.py`
3. *Who we are*: `Account`, and `People` for those whom fields name
4. *Answers*: `Errors`, `Limits`, `Times`
5. *Object type*, repeated: `ObjectType` (name, label, parent, link), `Place` (where a record has its id, version and
   times), `FieldDefinition`, `Scope`
6. *List*: `Listing` with `Paging` and `ChangedSince`; no `ChangedSince` is a full listing, compared by digests
7. *Read*: `ReadOne`, `ReadMany`
8. *Write*: `Create`, `Update`, `Delete`, `Condition` (who was faster), `Key` (which of two creates this is), `Trust`
   (how much a success says)
9. *Bell*: `Webhook`

Comments are an object type with a `parent`, whose list has `{parent}` in it. A section that is absent (None) says that
the system cannot do it, and the connection's capabilities follow from that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from connections.connectors.rest_document import DefinitionError, Expression, Template, read_section, written
from connections.connectors.rest_rules import check, gaps

VERSION = 1  # of the format; a newer document is refused, an older one is read

__all__ = ["VERSION", "Definition", "DefinitionError", "dump", "gaps", "parse"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something a connection fills in beside its address, for use as `{name}` in every template."""

    name: str
    label: str = ""
    help: str = ""
    required: bool = True
    default: str = ""


@dataclass(frozen=True, slots=True)
class Authentication:
    method: Literal["none", "basic", "bearer", "header", "query", "client_credentials", "login"] = "none"
    name: str = ""  # header: of which header; query: of which parameter; tokens: header if not Authorization
    prefix: str = "Bearer "  # before a token or key in a header; not used by basic and query
    key_as: Literal["", "user", "password"] = ""  # basic: the API key goes here …
    other: str = ""  # … and this constant is the other half (Freshdesk: X)
    # Tokens: client_credentials and login.
    token_path: Template = ""  # below the address, or a whole https address
    client_in: Literal["body", "basic"] = "body"  # client_credentials: where id and secret go
    oauth_scope: str = ""
    token_parameters: Mapping[str, str] = field(default_factory=dict)  # client_credentials: more, like audience
    body: Any = None  # login: what is sent; {user} {password} {key}
    encoding: Literal["json", "form"] = "json"  # login
    token: Expression = "access_token"  # noqa: S105  # where the answer has it
    expires_in: Expression = "expires_in"  # seconds
    lifetime: float = 3600.0  # seconds, where the answer does not say


@dataclass(frozen=True, slots=True)
class Account:
    """A call that says whose sign-in it is."""

    path: Template = ""  # {user}
    id: Expression = "id"
    name: Expression = "name"
    tenant: Expression = ""  # which site or organisation; else the address
    anonymous: Expression = ""  # true where the answer is one for nobody (Redmine answers 200 to a wrong key)


@dataclass(frozen=True, slots=True)
class People:
    """A list of accounts, for fields of the kind `person`."""

    path: Template  # {query}
    parameters: Mapping[str, Template] = field(default_factory=dict)  # {query}
    page_parameter: str = ""  # pages are counted from 1 in it, until one is empty; without it one call has everybody
    records: Expression = "@"
    id: Expression = "id"
    email: Expression = ""
    name: Expression = "name"
    active: Expression = ""  # true for those who can be chosen; else everybody


@dataclass(frozen=True, slots=True)
class Errors:
    """What an answer says that is no success. All expressions see the answer's body."""

    message: Expression = ""
    fields: Expression = ""  # {field: message or [messages]}, or a list of objects …
    field_name: Expression = "field"  # … of which this is the field's name in what we send
    field_message: Expression = "message"
    failed: Expression = ""  # true in a 2xx answer that is a failure all the same
    refused_status: tuple[int, ...] = (400, 409, 422)


@dataclass(frozen=True, slots=True)
class Limits:
    status: tuple[int, ...] = (429,)
    wait_header: str = "Retry-After"
    wait_as: Literal["seconds", "milliseconds", "epoch"] = "seconds"  # a date is understood as well
    remaining_header: str = ""  # calls that are left; at 0 we wait as long as …
    reset_header: str = ""  # … this says, in the form of wait_as
    per_second: float = 5.0
    concurrency: int = 2


@dataclass(frozen=True, slots=True)
class Times:
    """How the system writes a moment."""

    format: Literal["iso", "epoch", "epoch_ms", "pattern"] = "iso"
    pattern: str = ""  # like %Y-%m-%d.%H:%M:%S
    as_text: bool = False  # epoch: a number in quotes


@dataclass(frozen=True, slots=True)
class OptionDefinition:
    value: Any  # as the API has it
    name: str = ""  # as people see it; else the value


@dataclass(frozen=True, slots=True)
class OptionSource:
    """A call that lists the options of a field."""

    path: Template
    records: Expression = "@"
    value: Expression = "id"
    name: Expression = "name"


@dataclass(frozen=True, slots=True)
class FieldDefinition:
    name: str  # path in Record.values
    label: str = ""
    kind: Literal[
        "text", "rich_text", "option", "set", "person", "number", "boolean", "date", "datetime", "reference"
    ] = "text"
    format: Literal["", "html", "markdown", "plain"] = ""  # rich_text
    read: Expression = ""  # where a record has it; else its name
    write: str = ""  # where it is sent, keys joined by dots; else its name
    options: tuple[OptionDefinition, ...] = ()
    options_from: OptionSource | None = None
    writable: bool = True
    creatable: bool = True
    required: bool = False  # it cannot be empty, and a create needs it
    clearable: bool = True  # it can be emptied
    max_length: int | None = None
    # text: numbers and booleans go in quotes (HubSpot); number: ids of persons and references without (Freshdesk).
    send_as: Literal["", "text", "number"] = ""
    separator: str = ""  # set: one text with this between its parts; else a list
    empty: Any = None  # what is sent to empty it
    absent: Literal["hidden", "empty"] = "hidden"  # what it means where a record lacks it altogether
    times: Times | None = None  # datetime; else those of the definition
    search: str = ""  # query parameter of the list that finds records by it
    search_value: Template = "{value}"  # {json}: the value with its quotes, as JSON has it


@dataclass(frozen=True, slots=True)
class Place:
    """Where one record has what we need to know of it. Expressions see one record."""

    id: Expression = "id"
    version: Expression = ""  # a counter, or an ETag that counts; without it the time, without that a digest
    version_counts: bool = True  # it changes with every change; False: it is a time or a digest
    updated_at: Expression = ""
    updated_by: Expression = ""
    updated_by_name: Expression = ""
    created_at: Expression = ""
    created_by: Expression = ""
    key: Expression = ""  # what people call it
    title: Expression = ""
    parent_id: Expression = ""
    deleted: Expression = ""  # true of a deleted record or a tombstone


@dataclass(frozen=True, slots=True)
class Scope:
    """A filter that a mapping may set."""

    name: str
    label: str = ""
    help: str = ""
    required: bool = False
    parameter: str = ""  # of the list; without it we leave out what does not fit ourselves
    value: Template = "{value}"
    read: Expression = ""  # what a record has there: one value or a list
    write: str = ""  # where a create sends it, so that the new record lies in the scope
    write_as_list: bool = False


@dataclass(frozen=True, slots=True)
class Paging:
    style: Literal["none", "page", "offset", "cursor", "link_header", "next_url"] = "none"
    parameter: str = ""  # page number, offset or cursor
    first: int = 1  # number of the first page
    size_parameter: str = ""
    size: int = 100
    cursor: Expression = ""  # cursor: the next one in the answer; empty ends the list
    next: Expression = ""  # next_url: the next address in the answer; empty ends the list
    next_header: str = ""  # next_url: or the header that has it
    more: Expression = ""  # page, offset: whether there is more; without it …
    total: Expression = ""  # … how many there are in all; without it an empty page ends the list, or …
    short_ends: bool = False  # … one with fewer records than asked for
    in_body: bool = False  # parameters of the paging lie in the body
    max_pages: int = 0  # the system gives no more in one go; then we go on from the last time. 0: no limit


@dataclass(frozen=True, slots=True)
class ChangedSince:
    """How the list is asked for what changed since a moment."""

    parameter: str = ""  # without it `{since}` stands in the list's own parameters or body
    value: Template = "{since}"  # like ">={since}" or "from {since}"
    parameters: Mapping[str, Template] = field(default_factory=dict)  # more of them, like the order
    times: Times | None = None  # else those of the definition
    granularity: float = 1.0  # seconds: the finest step it knows
    inclusive: bool = True
    from_start: str = ""  # what `{since}` is for everything; without it the parameter is left out
    oldest_first: bool = True  # the list is in the order of the times of change


@dataclass(frozen=True, slots=True)
class Listing:
    path: Template = ""  # {parent} for children
    method: Literal["GET", "POST"] = "GET"
    parameters: Mapping[str, Template] = field(default_factory=dict)
    body: Any = None  # POST; {since}
    records: Expression = "@"
    paging: Paging = Paging()
    changed: ChangedSince | None = None
    lag: float = 0.0  # seconds by which the list may be behind; 0: it is not
    complete: bool = True  # its records are as a direct read gives them; False: only their ids count
    deleted: bool = False  # the list shows deletions (`Place.deleted` says of which records)


@dataclass(frozen=True, slots=True)
class ReadOne:
    path: Template = ""  # {id}; where a child is found below its parent only, {parent} too
    parameters: Mapping[str, Template] = field(default_factory=dict)
    record: Expression = "@"
    missing_status: tuple[int, ...] = (404, 410)
    merged: bool = False  # an answer with another id is the record that this one was merged into


@dataclass(frozen=True, slots=True)
class ReadMany:
    """Many records by their ids in one call. What is absent from the answer is not there (any more)."""

    path: Template = ""  # {ids}
    method: Literal["GET", "POST"] = "GET"
    parameters: Mapping[str, Template] = field(default_factory=dict)  # {ids}
    body: Any = None  # {ids}
    each: Any = "{id}"  # what one id is in a body's list
    separator: str = ","  # between ids in a path or parameter
    size: int = 50
    records: Expression = "@"
    believed: bool = False  # what is absent is not asked for alone: a direct read shows deleted records too


@dataclass(frozen=True, slots=True)
class Create:
    path: Template = ""  # {parent} for children
    method: Literal["POST", "PUT"] = "POST"
    wrap: str = ""  # the values lie in here, keys joined by dots: "issue" for {"issue": {…}}
    constant: Mapping[str, Any] = field(default_factory=dict)  # sent along with the values
    record: Expression = ""  # the record in the answer; without it …
    id: Expression = ""  # … its id there, and it is read; without that the last part of the Location header


@dataclass(frozen=True, slots=True)
class Update:
    path: Template = ""  # {id}; {parent} as in ReadOne
    method: Literal["PATCH", "PUT", "POST"] = "PATCH"
    content_type: str = "application/json"  # application/merge-patch+json
    wrap: str = ""
    constant: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False  # the record as it is, with the changed values: what is not sent is emptied
    whole_without: tuple[str, ...] = ()  # keys of the record that are not sent back
    record: Expression = ""  # the record in the answer; without it it is read after the write


@dataclass(frozen=True, slots=True)
class Delete:
    path: Template = ""  # {id}; {parent} as in ReadOne
    method: Literal["DELETE", "POST", "PUT", "PATCH"] = "DELETE"
    body: Any = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A write that the system refuses where the record changed since we read it."""

    style: Literal["header", "body"] = "header"
    header: str = "If-Match"
    value: Template = "{version}"  # {version} of the record, or {etag}: the header of a read right before the write
    field: str = ""  # body: where the version is sent, keys joined by dots, inside the wrapping
    required: bool = (
        False  # without it the system takes no write, so that the version is read first where none is known
    )
    deletes: bool = False  # deletions too
    refused_status: tuple[int, ...] = (412,)
    refused: Expression = ""  # more ways to say so: true in an answer with a status of `Errors.refused_status`
    resolution: float = 0.0  # seconds: changes closer together than this go unseen


@dataclass(frozen=True, slots=True)
class Key:
    """Where a record carries our correlation key, so that a create without an answer is found again."""

    read: Expression = ""  # where a record has it
    write: str = ""  # where it is sent
    search: str = ""  # query parameter of the list that finds it; without it the list is read through
    search_value: Template = "{value}"  # {json}
    header: str = ""  # with the key, where the system makes one record of two equal requests
    settle: float = 0.0  # seconds until a new record is found by it; 0: at once


@dataclass(frozen=True, slots=True)
class Trust:
    """How much a success says."""

    not_found_is_gone: bool = False  # a record that is not found was deleted; False: it may only be hidden
    # Nor was it, however long it is not found: it may lie in an archive. `Place.deleted` tells of those that were.
    not_found_tells_nothing: bool = False
    compare: bool = True  # a value that is still the old one after a successful write was refused
    look_first: bool = False  # deleted records still take writes, so that we look whether one is there before each


@dataclass(frozen=True, slots=True)
class ObjectType:
    name: str
    label: str = ""
    parent: str = ""  # an object type whose records own these: comments
    link: Template = ""  # {id} {key}: where people see a record, below the address
    place: Place = Place()
    fields: tuple[FieldDefinition, ...] = ()
    scope: tuple[Scope, ...] = ()
    list: Listing | None = None
    read: ReadOne | None = None
    read_many: ReadMany | None = None
    create: Create | None = None
    update: Update | None = None
    delete: Delete | None = None
    condition: Condition | None = None
    key: Key | None = None
    trust: Trust = Trust()


@dataclass(frozen=True, slots=True)
class Webhook:
    """Expressions see one event; `events` sees the body."""

    events: Expression = "@"  # one event or a list of them
    object_type: Expression = ""  # its name here; where there is one object type, not needed
    id: Expression = "id"
    deleted: Expression = ""
    event: Expression = ""  # what happened, for the log
    delivery_header: str = ""  # a name of the delivery, equal over the sender's retries
    delivery: Expression = ""
    # How the sender proves itself, with the connection's webhook secret.
    signature_header: str = ""
    algorithm: Literal["hmac-sha256", "hmac-sha1", "hmac-sha512", "secret"] = "hmac-sha256"  # secret: sent as it is
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""  # before the signature: "sha256="
    signed: Template = "{body}"  # {timestamp}
    timestamp_header: str = ""
    timestamp_as: Literal["seconds", "milliseconds", "iso"] = "seconds"  # since 1970
    help: str = ""  # how an administrator makes it there


@dataclass(frozen=True, slots=True)
class Definition:
    name: str  # of the system, as people call it
    version: int = VERSION
    kind: str = ""  # those that come with SyncAdmin: the connector's kind
    address_help: str = ""
    notes: tuple[str, ...] = ()  # what cannot be done here, one sentence each
    parameters: tuple[Parameter, ...] = ()
    authentication: Authentication = Authentication()
    headers: Mapping[str, Template] = field(default_factory=dict)  # {address}; no secrets: they would be exported
    account: Account | None = None
    people: People | None = None
    errors: Errors = Errors()
    limits: Limits = Limits()
    times: Times = Times()
    object_types: tuple[ObjectType, ...] = ()
    webhook: Webhook | None = None


def parse(document: Any) -> Definition:
    """The definition that plain data describes. Raises DefinitionError, which names the place and what is expected."""
    if isinstance(document, Mapping) and isinstance(document.get("version"), int) and document["version"] > VERSION:
        raise DefinitionError(("version",), f"the format is newer ({document['version']}) than what is known here")
    definition: Definition = read_section(Definition, document)
    check(definition)
    return definition


def dump(definition: Definition) -> dict[str, Any]:
    """The definition as plain data, without what is left at its default. `parse` gives the same definition back."""
    return {"version": definition.version, **written(definition)}
