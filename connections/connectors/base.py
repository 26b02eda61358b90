"""The connector contract: what SyncAdmin asks of every system, and the words it uses.

Pure: no Django, no HTTP library, no clock. A connector is one file beside this one (with helpers of its own, if it is
large) that holds one subclass of `Connector`; registration, forms and pages follow from what the class declares. Every
promise made here is tested for every connector by connections/tests/contract.py.

Values are JSON values in a *normalised* form, made once, by the connector:

=============  =====================================================================================
kind           normalised value
=============  =====================================================================================
text           str with "\\n" newlines
rich_text      the system's own document: dict for ADF, str for HTML, Markdown or plain text
option         str, the option's name as people see it
set            list of distinct str, sorted
person         e-mail address in lower case; "id:<account id>" where the address is hidden;
               "queue:<name>" where a group owns the record
number         int or float; a whole one is an int, see numbers.py
boolean        bool
date           "YYYY-MM-DD"
datetime       "YYYY-MM-DDTHH:MM:SS[.ffffff]Z", UTC
reference      external id of the other record, str
=============  =====================================================================================

`None` means empty. A field the account may not read is named in `Record.unreadable` and absent from
`Record.values`: hidden is not empty.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from connections.connectors import proofs
from connections.connectors.quota import Quota, usual_quota

Values = Mapping[str, Any]  # {field path: normalised JSON value}


@dataclass(frozen=True, slots=True)
class Record:
    """One remote record as read."""

    external_id: str  # immutable id of the record in its system
    # An exact counter or ETag, or the time of the last change, or a digest: see exact_version and lists_changes.
    version: str
    values: Values
    updated_at: str | None = None  # UTC, normalised datetime
    updated_by: str | None = None  # account id
    updated_by_name: str | None = None  # for people to read
    created_at: str | None = None
    created_by: str | None = None
    key: str | None = None  # what people call it: SUP-4812, 00103952
    title: str | None = None
    parent_id: str | None = None
    correlation_key: str | None = None
    deleted: bool = False
    merged_into: str | None = None  # of a deleted one: the record that people merged it into, where the system tells
    unreadable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing.

    `watermark` is a position from which it is safe to continue after everything up to and including this
    page was taken over. `server_time` is the system's own clock, taken before the list was read.
    """

    records: Sequence[Record]
    watermark: str | None
    server_time: str | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class ObjectType:
    name: str  # as the API calls it: "issue", "Case"
    label: str  # as people call it
    parent: str | None = None  # object type whose records own these (comments: the issue)


@dataclass(frozen=True, slots=True)
class Option:
    value: str  # the normalised value
    label: str
    active: bool = True


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object type, as the account sees it."""

    path: str  # key in Record.values
    label: str
    kind: str  # see the table above
    format: str | None = None  # rich_text: "adf", "html", "markdown", "plain"
    options: Sequence[Option] = ()
    writable: bool = True  # on existing records
    creatable: bool = True  # in a create
    required: bool = False  # must not be empty
    max_length: int | None = None
    separate_write: bool = False  # a write of this field is a remote call of its own (Jira status)
    matchable: bool = False  # find_by_values can look records up by this field
    step: int | None = None  # microseconds between two moments that it tells apart; None where nobody says


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a connection's form."""

    name: str
    label: str
    secret: bool = False
    required: bool = True
    help: str = ""
    choices: Sequence[tuple[str, str]] = ()
    default: str = ""
    multiline: bool = False
    show_if: tuple[str, str] | None = None  # (other field, value)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a connector can do, as data. Times in seconds."""

    bulk_read: int = 1  # ids per get_many call
    bulk_write: int = 1  # records per bulk write call
    conditional_write: bool = False  # expected_version is checked by the system, atomically
    conditional_resolution: float = 0.0  # 0: exact; else changes closer together than this go unseen
    idempotent_create: bool = False  # the same correlation key twice makes one record
    create_lookup_consistent: bool = False  # find_by_correlation_key sees a create at once
    settle_seconds: float = 60.0  # else: how long until the look-up can be believed
    lists_lag: bool = False  # changed_since may miss recent writes: it gives ids only, records are read by id
    not_found_means_gone: bool = False  # a 404 on a direct read is a deletion
    not_found_tells_nothing: bool = False  # nor is it one ever, however often: only who tells of the deletion does
    lists_changes: bool = True  # False: changed_since lists all every time, and equal versions are equal records
    lists_deletions: bool = False  # changed_since also yields deleted records
    write_returns_record: bool = False
    whole_records: bool = False  # an update must send every field
    field_history: bool = False
    complete_history: bool = False  # the history holds every change of every field: what it lacks did not happen
    exact_version: bool = False  # Record.version changes with every change (counter, ETag)
    version_comes_back: bool = False  # it is the old one again once a record is put back (digest)
    watermark_granularity: float = 1.0
    stamp_granularity: float = 1.0  # times of records and histories are cut to this: what happened may be so much later
    overlap: float = 5.0  # every poll re-reads this much: equal stamps, usual lag
    lookback: float = 60.0  # a change may become visible in lists this late: index lag, long transactions
    concurrency: int = 4  # remote calls at once
    rate_per_second: float = 10.0
    writes_per_second: float | None = None  # evenly spread, where writes have a limit of their own
    feed_retention: float | None = None  # how long the change feed can be replayed
    bell: str = "none"  # "webhook", "stream" or "none"
    subscribes: bool = False  # our account can register the webhook itself; else an administrator does it by hand
    update_timeout: float = 30.0  # after this an unanswered write can no longer take effect


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What one write led to.

    `record` is the read-back: as the write returned it, or read right after. `on_the_way` names fields that
    moved one step towards the value sent, with the value reached (a status along its workflow), or that were left out
    of the write with success, with the value that stands: the caller sends again until they arrive or are refused.
    `replaced` says what each field held right before this write, where the system
    itself can tell (its field history): what differs from our last read is an edit that we overwrote.
    """

    record: Record
    created: bool = False
    on_the_way: Values = field(default_factory=dict)
    replaced: Values = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Update:
    """One record's part of a bulk update."""

    external_id: str
    values: Values
    expected_version: str | None = None


@dataclass(frozen=True, slots=True)
class Creation:
    """One record's part of a bulk create."""

    values: Values
    correlation_key: str
    parent_id: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of a field's history at the vendor."""

    field: str
    at: str  # UTC, normalised datetime
    by: str | None  # account id
    by_name: str | None
    before: Any  # normalised where possible, else the vendor's text
    after: Any

    @property
    def untold(self) -> bool:
        """Whether the vendor says that the field changed, and no more."""
        return self.before is None and self.after is None


@dataclass(frozen=True, slots=True)
class Hint:
    """ "This record may have changed", as a delivery or a change event told it.

    `verified` is true only where the sender proved itself. `own_account` says the vendor names our account as
    the author; with `changes` (the new values of every changed field, normalised, or None if they cannot be
    told) and `version` it lets the ledger prove an echo. Alone it proves nothing.
    """

    object_type: str
    external_id: str
    version: str | None = None
    own_account: bool = False
    changes: Values | None = None
    deleted: bool = False
    verified: bool = False
    at: str | None = None
    created: bool = False  # the change that made the record


@dataclass(frozen=True, slots=True)
class DeliveryRequest:
    """A webhook request as received: the body's bytes are what a signature covers."""

    method: str
    path: str
    headers: Mapping[str, str]  # lower-case names
    body: bytes
    received_at: float = 0.0  # seconds, our clock


@dataclass(frozen=True, slots=True)
class ParsedDelivery:
    """What a request says. `provable` is False where nothing could have proved its sender (no secret is agreed, or the
    system signs nothing): such a one is at most a hint. An unverified one of a sender that could is refused."""

    delivery_id: str | None  # equal over the sender's retries
    event: str
    verified: bool
    reason: str  # why it is not verified; "" if it is
    hints: Sequence[Hint]
    provable: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that an administrator does at the system by hand. `code`: what they paste there, exactly."""

    text: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """Whether a system writes down the changes of one object type, where we have to ask it to (triggers)."""

    object_type: str
    label: str
    on: bool
    note: str = ""  # what people should know of it, one sentence
    script: str = ""  # what `watch` would run, for somebody who rather runs it by hand


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What "Test connection" found."""

    account_id: str
    account_name: str
    missing: Sequence[str] = ()  # permissions by name, with the vendor's menu path
    clock_offset: float | None = None  # seconds their clock is ahead of ours
    rate_limit: str = ""  # one sentence
    notes: Sequence[str] = ()  # promises and warnings, one sentence each
    personal_account: bool = False  # a person seems to use this account as well
    tenant: str = ""  # identity of the site or org; a change of it halts


# Errors say what to do next, not what broke. -----------------------------------------------------------------


class ConnectorError(Exception):
    """Base of all answers a connector gives instead of a result. `message` is for people.

    `outage`: it is about the system as a whole, which does not answer or failed by itself (network, status 5xx), not
    about the record; several in a row open the circuit breaker.
    """

    outage: bool = False

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class Retry(ConnectorError):
    """Nothing happened; try again. `after`: seconds."""

    def __init__(self, message: str = "", after: float = 5.0) -> None:
        super().__init__(message)
        self.after = after


class RateLimited(Retry):
    """The system asks us to wait. `after`: seconds; the whole connection waits."""


class Refused(ConnectorError):
    """The system will not take this value. `fields`: {path: message}; empty if it named none."""

    def __init__(self, message: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.fields = dict(fields or {})


class Gone(ConnectorError):
    """The record is not there (any more). `certain` is False where it may only be hidden from us."""

    def __init__(self, message: str = "", certain: bool = True) -> None:
        super().__init__(message)
        self.certain = certain


class VersionMismatch(ConnectorError):
    """The record changed since `expected_version`; nothing was written."""


class NotAllowed(ConnectorError):
    """The account lacks a permission."""


class NeedsAuthorization(ConnectorError):
    """The system no longer accepts our sign-in; a person must sign in again."""


class Expired(ConnectorError):
    """The position we would read on from is older than the system keeps: everything has to be listed again."""


class Uncertain(ConnectorError):
    """A write was sent and not answered: it may or may not have happened. Probe, never resend blindly.

    `external_id`: the record that a create made, where the answer named it and no more could be understood.
    """

    def __init__(self, message: str = "", external_id: str = "") -> None:
        super().__init__(message)
        self.external_id = external_id


# What a connector is given. ----------------------------------------------------------------------------------


class TokenStore(Protocol):
    """Access tokens shared by all workers; `renew` lets exactly one of them fetch a new one."""

    def current(self) -> dict[str, Any] | None: ...

    def renew(self, stale: dict[str, Any] | None, fetch: Callable[[], dict[str, Any]]) -> dict[str, Any]: ...


class StateStore(Protocol):
    """Small non-secret facts a connector keeps: learned workflows, replay ids, registered webhooks."""

    def get(self, key: str, default: Any = None) -> Any: ...

    def put(self, key: str, value: Any) -> None: ...

    def change(self, key: str, act: Callable[[Any], Any]) -> None:
        """Put what `act` makes of the value (None where there is none); no other worker changes it meanwhile."""
        ...


class Calls(Protocol):
    """The rate budget and the count of remote calls, for a connector whose calls do not go through `http`."""

    def __call__(self, kind: str) -> AbstractContextManager[None]:
        """Around one call of kind "read", "write" or "bell". Raises RateLimited or Retry before anything leaves."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a connector may use of the world outside."""

    name: str  # the connection's name
    address: str  # base URL without trailing slash
    settings: Mapping[str, Any]  # texts, and what a connector's own pages keep
    secrets: Mapping[str, str]
    http: Any  # connectors.http.Session; Any keeps this file free of an HTTP library
    tokens: TokenStore
    state: StateStore
    calls: Calls | None = None  # given to every connector that is opened


class Connector:
    """One system. All methods raise only `ConnectorError`s; all ids are strings; times are UTC.

    `scope` is the mapping side's filter in the connector's own terms, a JSON object the connector documents
    ({"project": "SUP", "jql": "..."}); `fields` are the paths wanted in `Record.values`.
    """

    kind: ClassVar[str]  # "jira"
    label: ClassVar[str]  # "Jira Cloud"
    form: ClassVar[Sequence[FormField]]  # beside name and address
    scope_form: ClassVar[Sequence[FormField]] = ()  # fields of `scope`
    address_help: ClassVar[str] = ""
    schemes: ClassVar[Sequence[str]] = ("https", "http")  # how an address may begin
    capabilities: Capabilities  # of the kind; where they depend on the connection, an instance has its own
    scope_help: ClassVar[str] = ""
    hides_by: ClassVar[str] = ""  # what beside the scope may leave a record out, in words: see not_found_tells_nothing
    watches: ClassVar[bool] = False  # changes are told completely only where we installed something, see `watch`
    hidden: ClassVar[bool] = False  # not offered in the UI
    # Object types, in words, of whose writes nobody tells what they replaced, though of others somebody does.
    blind_in: ClassVar[Mapping[str, str]] = {}
    # Fields, in words, of which its history does not tell what was replaced, and that are looked at before a write.
    looks_at: ClassVar[str] = ""
    proof: ClassVar[proofs.Proof | None] = None  # how webhook requests prove their sender; None: they cannot

    def __init__(self, context: Context) -> None:
        self.context = context

    @classmethod
    def capabilities_for(cls, settings: Mapping[str, Any]) -> Capabilities:
        """What a connection with these settings can do, where that is more than the kind says; asked without a call."""
        return cls.capabilities

    @classmethod
    def form_for(cls, settings: Mapping[str, Any]) -> Sequence[FormField]:
        """What a connection with these settings fills in beside its name and address."""
        return cls.form

    @classmethod
    def secrets_go_to(cls, settings: Mapping[str, Any]) -> frozenset[str]:
        """Origins beside the address that secrets are sent to: where one is new, they are asked for again."""
        return frozenset()

    @classmethod
    def scope_form_for(cls, settings: Mapping[str, Any]) -> Sequence[FormField]:
        """The fields of `scope` for a connection with these settings."""
        return cls.scope_form

    def capabilities_of(self, object_type: str) -> Capabilities:
        """What holds for one object type, where it is less than the connector can do (no place for the key)."""
        return self.capabilities

    @classmethod
    def quota(cls, headers: Mapping[str, str]) -> Quota | None:
        """How many calls are left, as the headers of any answer tell (names in any case); None where they do not."""
        return usual_quota(headers)

    def check(self) -> CheckResult:
        """Try the sign-in and say what the account can and cannot do."""
        raise NotImplementedError

    def object_types(self) -> Sequence[ObjectType]:
        raise NotImplementedError

    def fields(self, object_type: str, scope: Values) -> Sequence[Field]:
        raise NotImplementedError

    def described(self, object_type: str, scope: Values) -> Sequence[Field]:
        """Every field that is there for our account now, asked afresh: what a published mapping is compared with.

        Where `fields` leaves out or judges by an example (one record, one project), this tells the whole: what cannot
        be known without a certain record counts as readable and writable.
        """
        return self.fields(object_type, scope)

    def hidden_everywhere(self, object_type: str, paths: Collection[str], scope: Values) -> Collection[str]:
        """Those of `paths` that none of some records, read now, shows. Asked about fields that `described` lists and a
        read did not show, where that list is not the system's own word: what one record lacks, others may have."""
        return ()

    def changed_since(
        self, object_type: str, watermark: str | None, fields: Sequence[str], scope: Values
    ) -> Iterator[Page]:
        """Records changed at or after `watermark` (inclusive), oldest first; None: all of them. Where not
        `lists_changes`, always all of them, in any order.

        The caller subtracts the overlap or, now and then, twice the lookback. Where `lists_lag`, records carry no
        values. Raises Expired where `watermark` is older than the system keeps changes.
        """
        raise NotImplementedError

    def shift_watermark(self, watermark: str, seconds: float) -> str:
        """The watermark moved back by `seconds`, in the connector's own form."""
        raise NotImplementedError

    def get_many(self, object_type: str, ids: Sequence[str], fields: Sequence[str]) -> Mapping[str, Record]:
        """Direct, read-after-write consistent read. An absent id is gone or hidden (see `not_found_means_gone`);
        a record the system reports as deleted comes with `deleted=True`."""
        raise NotImplementedError

    def in_scope(self, object_type: str, ids: Sequence[str], scope: Values) -> set[str]:
        """Those of `ids` that the scope lets in."""
        raise NotImplementedError

    def admits(self, object_type: str, record: Record, scope: Values) -> bool | None:
        """Whether the scope lets `record` in, judged from the record alone; None if only the system can tell."""
        return None if scope else True

    def list_ids(self, object_type: str, scope: Values) -> Iterator[Sequence[str]]:
        """Complete listing, in pages. Raises rather than stopping short."""
        raise NotImplementedError

    def children(
        self, object_type: str, parent_ids: Sequence[str], fields: Sequence[str]
    ) -> Mapping[str, Sequence[Record]]:
        """Records of a child object type by parent id, oldest first."""
        raise NotImplementedError

    def create(
        self,
        object_type: str,
        values: Values,
        correlation_key: str,
        scope: Values,
        parent_id: str | None = None,
        fields: Sequence[str] = (),
    ) -> WriteResult:
        """Make one record that carries `correlation_key` from its first moment, and read `values` and `fields` back."""
        raise NotImplementedError

    def update(
        self, object_type: str, external_id: str, values: Values, expected_version: str | None, fields: Sequence[str]
    ) -> WriteResult:
        """Write exactly `values`, and read them and `fields` back. Fields with `separate_write` come alone."""
        raise NotImplementedError

    def delete(self, object_type: str, external_id: str) -> None:
        raise NotImplementedError

    def create_many(
        self, object_type: str, creations: Sequence[Creation], fields: Sequence[str], scope: Values
    ) -> Sequence[WriteResult | ConnectorError]:
        """Bulk create: one result or error per item, in order. Used where bulk_write > 1."""
        raise NotImplementedError

    def update_many(
        self, object_type: str, updates: Sequence[Update], fields: Sequence[str]
    ) -> Sequence[WriteResult | ConnectorError]:
        """Bulk update: one result or error per item, in order. Used where bulk_write > 1."""
        raise NotImplementedError

    def find_by_correlation_key(
        self, object_type: str, keys: Sequence[str], fields: Sequence[str], scope: Values
    ) -> Mapping[str, Sequence[Record]]:
        """Records by correlation key; more than one per key is a duplicate."""
        raise NotImplementedError

    def write_correlation_key(self, object_type: str, external_id: str, key: str) -> None:
        """Mark an existing record as the thing `key` names."""
        raise NotImplementedError

    def own_recent(self, object_type: str, since: str, fields: Sequence[str], scope: Values) -> Sequence[Record]:
        """Records our account created at or after `since`: the second look after an uncertain create."""
        raise NotImplementedError

    def find_by_values(
        self, object_type: str, path: str, wanted: Sequence[Any], fields: Sequence[str], scope: Values
    ) -> Sequence[Record]:
        """Records whose field `path` (a `matchable` one) equals one of `wanted`, case-insensitively at least."""
        raise NotImplementedError

    def history(
        self, object_type: str, ids: Sequence[str], fields: Sequence[str], since: str
    ) -> Mapping[str, Sequence[Change]]:
        """Who changed which field when, oldest first; only where `field_history`."""
        raise NotImplementedError

    def delivery_proof(self) -> proofs.Proof | None:
        """How this connection's webhook requests prove their sender, where its settings choose among several ways."""
        return self.proof

    def verdict(self, request: DeliveryRequest) -> proofs.Verdict:
        """Whether the sender of a webhook request proved itself, by what is declared."""
        values = {**self.context.settings, **self.context.secrets}
        return proofs.check(self.delivery_proof(), values, request, request.received_at)

    def parse_delivery(self, request: DeliveryRequest) -> ParsedDelivery:
        """Verify (see `verdict`) and read one webhook request; only where bell is "webhook". It makes no call and
        keeps nothing. Raises ValueError on garbage."""
        raise NotImplementedError

    def listen(self, object_types: Sequence[str], stop: Callable[[], bool]) -> Iterator[Sequence[Hint]]:
        """Hints from a change stream until `stop()`; only where bell is "stream".

        Yields an empty list at least every 30 s. The position is put into `context.state` after each yield
        returns, so that a crash repeats hints and never skips them. Yields a Hint with external_id "*" when
        the stream has a gap: the caller polls at once.
        """
        raise NotImplementedError

    def subscribe(self, object_types: Sequence[str], scope: Values, callback_url: str) -> None:
        """Register our webhook at the system; only where `subscribes`. Called once for each scope, after `unsubscribe`.

        Raises NotAllowed where the account may not, Refused where something must be set first.
        """
        raise NotImplementedError

    def unsubscribe(self) -> None:
        """End what `subscribe` registered, all of it; nothing left to end is no error. Only where `subscribes`."""
        raise NotImplementedError

    def steps_by_hand(self, object_types: Sequence[str], scope: Values, callback_url: str) -> Sequence[Step]:
        """What an administrator does so that the system rings; only where it has a bell. No call, and no secret in it:
        a secret is named."""
        raise NotImplementedError

    def watched(self) -> Sequence[Watch]:
        """Every object type and whether its changes are written down for us; only where `watches`."""
        raise NotImplementedError

    def watch(self, object_type: str) -> str:
        """Have the system write changes down from now on; says in words what was done."""
        raise NotImplementedError

    def unwatch(self, object_type: str) -> str:
        """Take away what `watch` installed."""
        raise NotImplementedError

    def url_of(self, object_type: str, external_id: str, key: str | None) -> str:
        """Deep link for people; "" where the system has no pages."""
        raise NotImplementedError

    def people(self, query: str) -> Sequence[tuple[str, str]]:
        """(person value, name) of active accounts fitting `query`."""
        raise NotImplementedError
