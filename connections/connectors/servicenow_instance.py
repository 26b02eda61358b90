"""HTTP verbs of a ServiceNow instance: signed-in calls, listings that survive equal stamps, batches, table shapes."""

from __future__ import annotations

import base64
import binascii
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urljoin

from connections.connectors import servicenow_auth as auth
from connections.connectors import servicenow_errors as errors
from connections.connectors import servicenow_query as query
from connections.connectors.base import (
    ConnectorError,
    Context,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    Record,
    Refused,
    Retry,
)
from connections.connectors.http import Answer
from connections.connectors.last_reads import LastReads
from connections.connectors.servicenow_fields import Shape, plain, raw_moment, record_of, shape_of
from connections.connectors.servicenow_listing import (
    PAGE_ROWS,
    Part,
    PartAnswer,
    Rows,
    before,
    list_params,
    part_rows,
    rows_in,
    table_path,
    unknown,
)
from connections.connectors.untrusted_json import parse_json

TABLES = "incident, problem, change_request, sc_task"
# A changed column or choice is taken up after this long; a mapping editor asks afresh.
DESCRIBE_SECONDS = 300.0
# How long it is believed that queries read our times as UTC; an administrator may change the account's time zone.
CLOCK_SECONDS = 3600.0
# A record may become visible this long after its time, and their clock differs from ours by less.
CLOCK_SLACK_SECONDS = 120.0
# A batch ends after 30 s at the latest, by ServiceNow's own rule; then its answer is on the way.
BATCH_SECONDS = 45.0
# Tables extend one another; nothing of use lies deeper.
DEEPEST = 5
WHO_AM_I = "sys_id=javascript:gs.getUserID()"

_HIDDEN_SELF = (
    "ServiceNow does not show our account its own user record. Nothing was read or written. Give it a role that reads "
    "sys_user, like itil."
)

_memory: dict[tuple[str, ...], dict[str, Any]] = {}
_memory_guard = threading.Lock()


class Instance:
    """One instance as one connection sees it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.reads = LastReads()

    # Calls -----------------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        data: bytes | None = None,
        content_type: str = "",
        file: bool = False,
        write: bool = False,
        sent: Sequence[str] = (),
        named: Callable[[str], Sequence[str]] = lambda text: (),
        read_timeout: float | None = None,
    ) -> Answer:
        """One signed-in call, with one new sign-in where a token has ended.

        data: a file to send, of that content type. file: a success answers with one, whatever its text may say.
        """

        def send(token: Mapping[str, Any] | None) -> Answer:
            headers = {"Accept": "*/*" if file else "application/json"}
            if content_type:
                headers["Content-Type"] = content_type
            options: dict[str, Any] = {}
            if token is None:
                user, password = self.context.settings.get("username", ""), self.context.secrets.get("password", "")
                options["auth"] = (_as_sent(user), _as_sent(password))
            else:
                self.context.http.hide(str(token["access_token"]))
                headers["Authorization"] = f"Bearer {token['access_token']}"

            def said(answer: Answer) -> ConnectorError | None:
                unsure = write and not errors.refuses(answer.status)
                if 300 <= answer.status < 400:
                    return errors.sent_on(urljoin(answer.url, answer.headers.get("Location", "")), unsure)
                if answer.status >= 400 and answer.json is None:
                    return errors.not_json(answer.text, unsure)
                found = errors.as_error(answer.status, answer.json, answer.headers, write=write, sent=sent, named=named)
                return found

            try:
                answer: Answer = self.context.http.request(
                    method,
                    path,
                    params=params,
                    json=json,
                    data=data,
                    headers=headers,
                    write=write,
                    table={0: said},
                    read_timeout=read_timeout,
                    any_text=file,
                    **options,
                )
            except Retry as error:
                # A page with status 200 is refused before anybody looks at it; its beginning is quoted.
                raise errors.not_json(error.message) or error from None
            failed = None if file else errors.inside_success(answer.json, write)
            if failed:
                raise failed
            return answer

        if auth.way(self.context) == auth.BASIC:
            return send(None)
        token = self.context.tokens.current() or self._renewed(None)
        try:
            return send(token)
        except NeedsAuthorization:
            return send(self._renewed(token))

    def _renewed(self, stale: dict[str, Any] | None) -> dict[str, Any]:
        """A token other than `stale`, fetched by whichever worker comes first."""
        tokens = self.context.tokens
        return tokens.renew(stale, lambda: auth.fetch_token(self.context, tokens.current()))

    def batch(self, parts: Sequence[Part], write: bool) -> tuple[list[PartAnswer | None], str | None]:
        """The answer of each part, None where ServiceNow stopped before it, and the moment before we asked."""
        requests = [
            {
                "id": str(number),
                "method": part.method,
                "url": f"{part.path}?{urlencode(part.params, quote_via=quote)}",
                "headers": [
                    {"name": "Content-Type", "value": "application/json"},
                    {"name": "Accept", "value": "application/json"},
                ],
                **({"body": base64.b64encode(json.dumps(part.body).encode()).decode()} if part.body else {}),
            }
            for number, part in enumerate(parts)
        ]
        body = {"batch_request_id": "1", "rest_requests": requests}
        answer = self.call("POST", "/api/now/v1/batch", json=body, write=write, read_timeout=BATCH_SECONDS)
        found = _parts(answer.json)
        if found is None or not set(found) <= {str(number) for number in range(len(parts))}:
            raise unknown(write)
        return [found.get(str(number)) for number in range(len(parts))], before(answer)

    # Rows ------------------------------------------------------------------------------------------------------

    def rows(
        self, table: str, wanted: str, columns: Sequence[str], limit: int, *, offset: int = 0, ids: bool = True
    ) -> Rows:
        """Rows of one answer. ids: each must have one (rows of the system's own tables may have odd ones)."""
        answer = self.call("GET", table_path(table), params=list_params(wanted, columns, limit, offset))
        return rows_in(answer.json, answer.headers, before(answer), ids)

    def record(self, shape: Shape, row: Mapping[str, Any], paths: Sequence[str]) -> Record:
        """One row as a Record, kept in mind as its last read."""
        record = record_of(shape, row, paths)
        self.reads.remember(record)
        return record

    def some(
        self, table: str, wanted: str, columns: Sequence[str], limit: int, ids: bool = True
    ) -> list[dict[str, Any]]:
        """Rows that are known to be few."""
        return self.rows(table, wanted, columns, limit, ids=ids).rows

    # Who and what ----------------------------------------------------------------------------------------------

    def me(self) -> dict[str, str]:
        """Our own user: sys_id, user_name, name, email, time_zone."""
        known = remembered(self, "me", DESCRIBE_SECONDS)
        if "me" not in known:
            columns = ("sys_id", "user_name", "name", "email", "time_zone")
            found = self.some("sys_user", WHO_AM_I, columns, 2)
            if not found:
                raise NotAllowed(_HIDDEN_SELF)
            if len(found) > 1 or not plain(found[0].get("user_name")):
                raise Retry(_HIDDEN_SELF)
            known["me"] = {column: plain(found[0].get(column)) for column in columns}
        me: dict[str, str] = known["me"]
        return me

    def tables(self) -> list[str]:
        """The tables named in the connection."""
        asked = self.context.settings.get("tables") or TABLES
        try:
            return [query.name(one) for one in asked.replace(",", " ").split()]
        except ValueError as error:
            raise NotAllowed(f"{error}. Nothing was read. Correct the tables in the connection.") from None

    def shape(self, table: str) -> Shape:
        """The table as the account sees it. Raises NotAllowed where it sees none."""
        known = remembered(self, "shapes", DESCRIBE_SECONDS)
        if table not in known:
            known[table] = self._describe(table)
        shape: Shape = known[table]
        return shape

    def note_hidden(self, table: str, columns: Sequence[str]) -> None:
        """Columns that were found to be hidden from our account: they are never taken for empty."""
        if self.context.state.get("hidden", {}).get(table, []) != list(columns):
            # ⚑ Beside those of tables that another worker notes at this moment.
            self.context.state.change("hidden", lambda kept: {**(kept or {}), table: list(columns)})
        known = remembered(self, "shapes", DESCRIBE_SECONDS)
        known[table] = replace(self.shape(table), hidden=frozenset(columns))

    def _describe(self, table: str) -> Shape:
        try:
            query.name(table)
        except ValueError as error:
            raise NotAllowed(f"{error}. Nothing was read. Check the mapping.") from None
        ups = ["super_class." * depth + "name" for depth in range(DEEPEST)]
        found = self.some("sys_db_object", f"name={table}", ("sys_id", "label", *ups), 2, ids=False)
        own = [row for row in found if plain(row.get("name")) == table]
        if not own:
            raise NotAllowed(
                f"ServiceNow shows no table {table}. Nothing was read. Check its name, and give our account read "
                "access to sys_db_object."
            )
        chain = [name for up in ups if (name := plain(own[0].get(up)))]
        of_tables = query.one_of("name", chain)
        columns = (
            *("name", "element", "column_label", "internal_type", "max_length", "mandatory", "read_only"),
            *("reference", "choice", "audit", "default_value"),
        )
        # A table's own row (its element is empty) says whether its changes are kept.
        dictionary = list_params(of_tables + "^active=true", columns, PAGE_ROWS * 10)
        chosen = ("name", "element", "value", "label", "language", "inactive", "sequence")
        choices = list_params(of_tables, chosen, PAGE_ROWS * 20)
        extending = list_params(f"super_class.name={table}", ("sys_id", "name"), PAGE_ROWS)
        parts = [
            Part("GET", table_path("sys_dictionary"), dictionary),
            Part("GET", table_path("sys_choice"), choices),
            Part("GET", table_path("sys_db_object"), extending),
        ]
        answers, _ = self.batch(parts, write=False)
        of_columns, of_choices = (self._all_of(table, answer) for answer in answers[:2])
        extended = part_rows(answers[2], ids=False)
        hidden = frozenset(self.context.state.get("hidden", {}).get(table, []))
        shape = shape_of(table, plain(own[0].get("label")) or table, chain, of_columns, of_choices, hidden)
        return replace(shape, extended=bool(extended.rows or extended.total))

    def _all_of(self, table: str, answer: PartAnswer | None) -> list[dict[str, Any]]:
        """All rows of a part that describes a table. Half a description would make columns vanish."""
        rows = part_rows(answer, ids=False)
        if rows.total is not None and len(rows.rows) < rows.total:
            raise NotAllowed(
                f"ServiceNow does not show our account all of the description of {table}. Nothing was read. Give it "
                "read access to sys_dictionary and sys_choice."
            )
        return rows.rows

    def known_field(self, table: str, path: str) -> bool:
        """Whether a field is there: of the table, or by way of references of a related one."""
        first, _, rest = path.partition(".")
        references = self.shape(table).references
        if first not in references:
            return False
        return not rest or (bool(references[first]) and self.known_field(references[first], rest))

    def condition(self, table: str, scope: Mapping[str, Any]) -> list[str]:
        """The mapping's scope as its alternatives. Raises Refused where it is none."""
        try:
            return query.condition(str(scope.get("query") or ""), lambda path: self.known_field(table, path))
        except ValueError as error:
            raise Refused(f"{error} Nothing was read. Correct the mapping's scope.") from None

    # The clock -------------------------------------------------------------------------------------------------

    def prove_clock(self, table: str) -> None:
        """Make sure that queries read times as UTC, as rows tell them.

        Whether they do depends on the account, and a position read in another zone skips hours of changes without a
        word. So a known record is asked for by its own time. Raises NotAllowed where it is not found by it.
        """
        state = self.context.state
        proved = float(state.get("clock_proved", 0.0) or 0.0)
        if time.time() - proved < CLOCK_SECONDS:
            return
        columns = ("sys_id", "sys_updated_on")
        for _ in range(2):  # it may be edited between the two questions
            newest = self.some(table, query.combine([""], order=["DESCsys_updated_on"]), columns, 1)
            if not newest:
                return
            at, id = plain(newest[0].get("sys_updated_on")), str(newest[0]["sys_id"])
            asked = f"sys_id={id}^sys_updated_on>={at}^sys_updated_on<={at}"
            if any(row["sys_id"] == id for row in self.some(table, asked, columns, 2)):
                if state.get("clock_doubt"):
                    state.change("clock_doubt", partial(_believed_from, _moment(-CLOCK_SLACK_SECONDS)))
                state.put("clock_proved", time.time())
                return
            again = self.some(table, f"sys_id={id}", columns, 2)
            if any(row["sys_id"] == id and plain(row.get("sys_updated_on")) == at for row in again):
                if proved:
                    begin = [_moment(time.time() - proved + CLOCK_SLACK_SECONDS), ""]
                    state.change("clock_doubt", partial(_doubted, begin))
                raise NotAllowed(
                    "ServiceNow reads our times in another time zone than it tells its own. No changes were read, "
                    "because some would be missed. Set the time zone of our account to GMT in its user record."
                )

    def trusted(self, watermark: str | None) -> str | None:
        """Where to read on from. ⚑ A position that moved between the last good proof of the clock and one that failed
        may have passed changes by: what was asked for then was perhaps read in another zone."""
        first, last = self.context.state.get("clock_doubt") or ("", "")
        if not first or not watermark:
            return watermark
        return first if first < watermark and (not last or watermark <= last) else watermark

    # Memory ----------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Take up changes of columns, choices and people at once."""
        with _memory_guard:
            for key in [k for k in _memory if k[1:] == self.identity]:
                del _memory[key]

    @property
    def identity(self) -> tuple[str, ...]:
        settings = self.context.settings
        return (self.context.address, self.context.name, settings.get("username", ""), settings.get("client_id", ""))


def _moment(ago: float) -> str:
    """The moment `ago` seconds ago, normalised."""
    return datetime.fromtimestamp(time.time() - ago, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _doubted(begin: list[str], kept: list[str] | None) -> list[str]:
    """From when to when positions are in doubt; one that lasts began where it was noted first."""
    return kept if kept and not kept[1] else begin


def _believed_from(moment: str, kept: list[str] | None) -> list[str] | None:
    return [kept[0], kept[1] or moment] if kept else None


def _as_sent(text: str) -> str:
    """The HTTP library writes these as Latin-1; ServiceNow reads UTF-8."""
    return text.encode().decode("latin-1")


def checked_id(external_id: str) -> str:
    if not query.is_id(external_id):
        raise Gone(f"“{external_id}” is no ServiceNow id; there can be no such record.", certain=False)
    return external_id


def since_text(watermark: str | None) -> str | None:
    return raw_moment(watermark) if watermark else None


def remembered(instance: Instance, what: str, seconds: float) -> dict[str, Any]:
    """What this process has learned about an instance, forgotten `seconds` after the first entry."""
    key = (what, *instance.identity)
    now = time.monotonic()
    with _memory_guard:
        entry = _memory.get(key)
        if entry is None or entry["until"] < now:
            entry = _memory[key] = {"until": now + seconds, "known": {}}
        known: dict[str, Any] = entry["known"]
        return known


def _parts(body: Any) -> dict[str, PartAnswer] | None:
    """The parts of a batch's answer by id; None where it is no such answer."""
    serviced = body.get("serviced_requests") if isinstance(body, Mapping) else None
    if not isinstance(serviced, list):
        return None
    found: dict[str, PartAnswer] = {}
    for part in serviced:
        if not isinstance(part, Mapping) or not isinstance(part.get("status_code"), int):
            return None
        try:
            text = base64.b64decode(str(part.get("body") or "")).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            return None
        told = part.get("headers")
        pairs = [h for h in told if isinstance(h, Mapping)] if isinstance(told, list) else []
        headers = {str(h.get("name")).lower(): str(h.get("value")) for h in pairs}
        found[str(part.get("id"))] = PartAnswer(part["status_code"], parse_json(text), headers)
    return found
