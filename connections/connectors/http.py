"""The HTTP session connectors are given: guard, budget, time-outs, size limits, and one table of errors.

No retries and no redirects: the operation or the page being read owns the next try, and a redirect would carry
credentials to an address nobody checked.
"""

from __future__ import annotations

import json as jsonlib
import os
import re
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import requests
from requests.structures import CaseInsensitiveDict

from connections.connectors.base import (
    ConnectorError,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Refused,
    Retry,
    Uncertain,
    VersionMismatch,
)
from connections.connectors.untrusted_json import parse_json
from connections.guard import AddressRefused, GuardedAdapter, NotConnected, origin

USER_AGENT = "SyncAdmin"
CONNECT_SECONDS = 5.0  # a host that takes longer to shake hands is down for a live edit
READ_SECONDS = 20.0
# A slow drip keeps the read time-out from firing; the whole answer must be here after this many read time-outs.
WHOLE_ANSWER_FACTOR = 3
MAX_ANSWER_BYTES = 32 * 1024 * 1024  # far above any page we ask for; below what would hurt a worker
CHUNK = 64 * 1024
WAIT_WHEN_LIMITED = 10.0  # seconds, where a system says "too many" without saying how long
LONGEST_WAIT = 24 * 3600.0  # a longer Retry-After is taken for a mistake
WAIT_FOR_ADMIN = 60.0  # somebody has to correct the address
POOL_SIZE = 24
SHORTEST_SECRET = 4  # shorter texts would blank out ordinary words
BLANK = "•••"
QUOTED = 300  # characters of an answer quoted to people

_pool: tuple[int, GuardedAdapter] | None = None

# A connector's own reading of an answer: status (0: any) → error, or None to leave it to the general table.
ErrorTable = Mapping[int, Callable[["Answer"], ConnectorError | None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `json` is None where the body holds no JSON; `date`: the system's clock, UTC; `elapsed`: seconds."""

    status: int
    headers: Mapping[str, str]  # names in any case
    json: Any
    text: str
    elapsed: float
    date: datetime | None
    url: str
    write: bool
    body: bytes = b""  # as it came

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


class Session:
    """HTTP to one system, for one connection and one run.

    before_call: called with the kind of call before each one; raises RateLimited where we have to wait.
    on_call: (kind, status, seconds) after each call; status 0 where there was no answer.
    on_headers: (kind, status, headers) of each answer, as on_call; no headers where there was none.
    on_limit: seconds the system asked us to wait.
    Kinds are "read", "write", "auth" and "bell".
    """

    def __init__(
        self,
        address: str,
        *,
        name: str = "",
        read_timeout: float = READ_SECONDS,
        secrets: Iterable[str] = (),
        before_call: Callable[[str], None] | None = None,
        on_call: Callable[[str, int, float], None] | None = None,
        on_limit: Callable[[float], None] | None = None,
        on_headers: Callable[[str, int, Mapping[str, str]], None] | None = None,
    ) -> None:
        self.address = address.rstrip("/")
        self.name = name or self.address
        self.read_timeout = read_timeout
        self.before_call = before_call
        self.on_call = on_call
        self.on_limit = on_limit
        self.on_headers = on_headers
        self._hidden: set[str] = set()
        for secret in secrets:
            self.hide(secret)
        self._origins: set[tuple[str, str, int]] = set()
        self._requests = requests.Session()
        self._requests.trust_env = False  # no proxies, netrc or certificates from the environment
        self._requests.headers = CaseInsensitiveDict({"User-Agent": USER_AGENT, "Accept": "application/json"})
        adapter = _adapter()
        self._requests.mount("https://", adapter)
        self._requests.mount("http://", adapter)

    # What a connector calls.

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        json: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        write: bool = False,
        kind: str = "",
        auth: tuple[str, str] | None = None,
        ok: Collection[int] = (),
        read_timeout: float | None = None,
        table: ErrorTable | None = None,
        any_text: bool = False,
    ) -> Answer:
        """Send one request and return its answer: 2xx, or a status in `ok`. All else is raised.

        path: below the address, or a whole URL on the same host (a next-page link).
        write: whether an unanswered request may have changed something there.
        kind: what the call is counted as; "read" or "write" where not given.
        any_text: whether a success may hold something else than JSON.
        """
        kind = kind or ("write" if write else "read")
        url = self._url(path)
        if auth:
            self.hide(auth[1])
        if self.before_call:
            self.before_call(kind)
        started = time.monotonic()
        status = 0
        told: Mapping[str, str] = {}
        try:
            response = self._send(method, url, params, json, data, headers, auth, write, read_timeout)
            status, told = response.status_code, response.headers
            answer = self._read(response, url, write, started, read_timeout or self.read_timeout)
        finally:
            if self.on_call:
                self.on_call(kind, status, time.monotonic() - started)
            if self.on_headers:
                self.on_headers(kind, status, told)
        if answer.ok or answer.status in ok:
            if answer.ok and answer.json is None and answer.text.strip() and not any_text:
                raise self._unreadable(answer)
            return answer
        error = self._error(answer, table)
        if isinstance(error, RateLimited) and self.on_limit:
            self.on_limit(error.after)
        raise error

    def trust(self, url: str) -> None:
        """Let requests also go to the host of `url`, which the system itself named when we signed in."""
        self._origins.add(origin(url))

    def hide(self, secret: str) -> None:
        """Never show `secret` in an error: tokens that were not known when the session was made."""
        if len(secret) >= SHORTEST_SECRET:
            self._hidden.add(secret)

    def redact(self, text: str) -> str:
        for secret in sorted(self._hidden, key=len, reverse=True):
            text = text.replace(secret, BLANK)
        return re.sub(r"(?i)\b(basic|bearer|oauth)\s+[A-Za-z0-9+/=._~!-]{8,}", rf"\1 {BLANK}", text)

    # Sending and reading.

    def _url(self, path: str) -> str:
        url = path if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path) else self.address + "/" + path.lstrip("/")
        try:
            if origin(url) not in {origin(self.address), *self._origins}:
                raise Retry(
                    f"{self.name} named an address on another host ({origin(url)[1]}). Nothing was sent there. "
                    "If the system has moved, change the address of the connection.",
                    after=WAIT_FOR_ADMIN,
                )
        except AddressRefused as error:
            raise Retry(str(error), after=WAIT_FOR_ADMIN) from None
        return url

    def _send(
        self,
        method: str,
        url: str,
        params: Any,
        json: Any,
        data: Any,
        headers: Mapping[str, str] | None,
        auth: tuple[str, str] | None,
        write: bool,
        read_timeout: float | None,
    ) -> requests.Response:
        timeout = read_timeout or self.read_timeout
        try:
            return self._requests.request(
                method,
                url,
                params=params,
                json=json,
                data=data,
                headers=dict(headers or {}),
                auth=auth,
                timeout=(CONNECT_SECONDS, timeout),
                allow_redirects=False,
                stream=True,
            )
        except NotConnected as error:
            raise self._not_connected(error.__cause__) from None
        except requests.Timeout:
            raise self._no_answer(f"{self.name} did not answer within {timeout:g} s.", write) from None
        except (requests.exceptions.InvalidJSONError, requests.exceptions.InvalidHeader, ValueError) as error:
            raise Refused(self.redact(f"{self.name} cannot be called: {error}. Nothing was sent.")) from None
        except (requests.RequestException, OSError):
            raise self._no_answer(f"{self.name} broke the connection off.", write) from None

    def _read(self, response: requests.Response, url: str, write: bool, started: float, timeout: float) -> Answer:
        deadline = time.monotonic() + timeout * WHOLE_ANSWER_FACTOR
        body = bytearray()
        failure = ""
        try:
            for chunk in response.iter_content(CHUNK):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    failure = f"{self.name} answered with more than {MAX_ANSWER_BYTES // 2**20} MB."
                    break
                if time.monotonic() > deadline:
                    failure = f"{self.name} took more than {timeout * WHOLE_ANSWER_FACTOR:g} s for one answer."
                    break
        except (requests.RequestException, OSError):
            failure = f"{self.name} broke the connection off in the middle of its answer."
        finally:
            response.close()
        if failure:
            if response.status_code < 400:
                raise self._no_answer(failure, write)
            body.clear()  # a refusal is a refusal, with or without its reason
        text = bytes(body).decode("utf-8", "replace").removeprefix("\ufeff")
        return Answer(
            status=response.status_code,
            headers=response.headers,
            json=parse_json(text),
            text=text,
            elapsed=time.monotonic() - started,
            date=http_date(response.headers.get("Date", "")),
            url=url,
            write=write,
            body=bytes(body),
        )

    # Errors: the one place where statuses and exceptions become the contract's errors.

    def _not_connected(self, cause: BaseException | None) -> ConnectorError:
        if isinstance(cause, AddressRefused):
            return Retry(str(cause), after=WAIT_FOR_ADMIN)
        if isinstance(cause, ssl.SSLError) or isinstance(getattr(cause, "__cause__", None), ssl.SSLError):
            why = f"{self.name} could not prove who it is: its certificate was not accepted ({cause})."
        elif isinstance(cause, TimeoutError):
            why = f"{self.name} could not be reached within {CONNECT_SECONDS:g} s."
        else:
            why = f"{self.name} could not be reached ({cause})."
        return _outage(Retry(self.redact(f"{why} Nothing was sent; we try again. Check the address if it stays so.")))

    def _no_answer(self, what: str, write: bool) -> ConnectorError:
        if write:
            told = f"{what} It may have taken our change or not; we look before anything is sent again."
            return _outage(Uncertain(told))
        return _outage(Retry(f"{what} Nothing was changed; we read again."))

    def _unreadable(self, answer: Answer) -> ConnectorError:
        what = f"{self.name} answered with something that cannot be read as JSON (“{self._quote(answer.text)}”)."
        if answer.write:
            return self._no_answer(what, True)
        return Retry(f"{what} Nothing was read. Check that the address is that of the system and not of a login page.")

    def _sent_on(self, target: str, write: bool) -> ConnectorError:
        """⚑ A 303 is how many answer a write that they took, and others stand in for it: none denies the write."""
        what, ask = f"{self.name} sends us on to {target}", "If that is the right address, enter it in the connection."
        if write:
            told = "It may have taken our change or not; we look before anything is sent again."
            return Uncertain(f"{what} in answer to a write. {told} {ask}")
        return Retry(f"{what}. Nothing was read. {ask}", after=WAIT_FOR_ADMIN)

    def _error(self, answer: Answer, table: ErrorTable | None) -> ConnectorError:
        for key in (answer.status, 0):
            maker = (table or {}).get(key)
            error = maker(answer) if maker else None
            if error is not None:
                limited = isinstance(error, RateLimited)
                if answer.status >= 500 and isinstance(error, Retry | Uncertain) and not limited:
                    _outage(error)
                error.message = self.redact(error.message)
                error.args = (error.message,)
                if isinstance(error, Refused):
                    error.fields = {path: self.redact(said) for path, said in error.fields.items()}
                return error
        return self._general_error(answer)

    def _general_error(self, answer: Answer) -> ConnectorError:
        status, write = answer.status, answer.write
        said = f"{self.name} says: {self._quote(said_in(answer))}"
        if status == 429 or (status == 503 and answer.headers.get("Retry-After")):
            after = retry_after(answer)
            return RateLimited(
                f"{self.name} asks us to wait {after:.0f} s. Nothing is lost. We go on by ourselves.", after=after
            )
        if 300 <= status < 400:
            return self._sent_on(self.redact(urljoin(answer.url, answer.headers.get("Location", ""))), write)
        if status == 401:
            return NeedsAuthorization(f"{said}. Nothing was read or written. Enter new credentials in the connection.")
        if status in (402, 403, 407, 451):
            return NotAllowed(f"{said}. Nothing was read or written. Give our account that permission.")
        if status in (404, 410):
            return Gone(f"{said}. Nothing was changed.", certain=status == 410)
        if status == 412:
            return VersionMismatch(f"{said}. The record changed meanwhile; nothing was written. We read it again.")
        if status in (408, 425):
            return self._no_answer(f"{self.name} gave up waiting for our request.", write)
        if status in (409, 423):
            return Retry(f"{said}. The record is busy; nothing was written. We try again.")
        if status >= 500:
            return self._no_answer(f"{self.name} failed with status {status}.", write)
        return Refused(f"{said}. Nothing was written. Change the value or the mapping.")

    def _quote(self, text: str) -> str:
        text = self.redact(" ".join(text.split())).rstrip(".")
        return text if len(text) <= QUOTED else text[:QUOTED] + "…"


def _outage(error: ConnectorError) -> ConnectorError:
    """The error, marked as one of the whole system."""
    error.outage = True
    return error


def _adapter() -> GuardedAdapter:
    """The process's pool of open connections: a run of a second should not pay for a handshake of its own.

    It knows no credentials. A forked child must not write to its parent's sockets, so it gets a pool of its own.
    """
    global _pool
    if _pool is None or _pool[0] != os.getpid():
        _pool = (os.getpid(), GuardedAdapter(POOL_SIZE))
    return _pool[1]


def said_in(answer: Answer) -> str:
    """What an error answer says to people, wherever the vendor puts it."""
    body = answer.json[0] if isinstance(answer.json, list) and answer.json else answer.json
    if isinstance(body, Mapping):
        if isinstance(body.get("errors"), Mapping | list) and body["errors"]:
            return jsonlib.dumps(body["errors"], ensure_ascii=False)
        for key in ("errorMessages", "message", "error_description", "errorMessage", "error", "detail", "title"):
            if body.get(key):
                value = body[key]
                return " ".join(map(str, value)) if isinstance(value, list) else str(value)
    if answer.text and not answer.text.lstrip().startswith("<"):
        return answer.text
    return f"status {answer.status}"


def retry_after(answer: Answer) -> float:
    """Seconds the answer asks us to wait: seconds or a date, as the header may be either."""
    text = answer.headers.get("Retry-After", "").strip()
    seconds = None
    if re.fullmatch(r"\d+(\.\d+)?", text):
        seconds = float(text)
    elif moment := http_date(text):
        # Measured against the sender's own clock, which may differ from ours.
        seconds = (moment - (answer.date or datetime.now(UTC))).total_seconds()
    return WAIT_WHEN_LIMITED if seconds is None else min(max(seconds, 0.0), LONGEST_WAIT)


def http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
