"""The session given to connectors: what is sent, what is refused, and which error each trouble becomes."""

from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, datetime

import pytest

from connections import guard
from connections.connectors import http
from connections.connectors.base import (
    Gone,
    NeedsAuthorization,
    NotAllowed,
    RateLimited,
    Refused,
    Retry,
    Uncertain,
    VersionMismatch,
)
from connections.connectors.http import Session
from connections.connectors.untrusted_json import parse_json
from connections.sandbox.base import Request, Response, Server, Standin


class Echo(Standin):
    """Answers what a test put into `reply`, and keeps the requests it got."""

    def __init__(self) -> None:
        super().__init__()
        self.reply = Response(200, {"fine": True})
        self.requests: list[Request] = []
        for method in ("GET", "POST", "PUT", "DELETE"):
            self.route(method, "/rest/.*", self.answer)

    def answer(self, request: Request) -> Response:
        self.requests.append(request)
        return self.reply


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def session(echo):
    with Server(echo) as address:
        session = Session(address, name="Jira", secrets=["s3cret-token"], read_timeout=5)
        yield session


def raised(session, write=False, **options):
    with pytest.raises(http.ConnectorError) as caught:
        session.request("POST" if write else "GET", "/rest/x", write=write, **options)
    return caught.value


def test_an_answer_comes_with_its_json_headers_and_the_systems_clock(session, echo):
    answer = session.request("GET", "rest/x", params={"a": "1"}, auth=("me", "s3cret-token"))
    assert (answer.status, answer.json, answer.ok) == (200, {"fine": True}, True)
    assert answer.headers["content-TYPE"].startswith("application/json")
    assert abs((answer.date - datetime.now(UTC)).total_seconds()) < 10
    assert echo.requests[0].query == {"a": "1"}
    assert echo.requests[0].headers["user-agent"] == "SyncAdmin"
    assert echo.requests[0].headers["authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("status", "on_read", "on_write"),
    [
        (400, Refused, Refused),
        (401, NeedsAuthorization, NeedsAuthorization),
        (403, NotAllowed, NotAllowed),
        (404, Gone, Gone),
        (408, Retry, Uncertain),
        (409, Retry, Retry),
        (410, Gone, Gone),
        (412, VersionMismatch, VersionMismatch),
        (422, Refused, Refused),
        (429, RateLimited, RateLimited),
        (500, Retry, Uncertain),
        (502, Retry, Uncertain),
        (503, Retry, Uncertain),
        (504, Retry, Uncertain),
    ],
)
def test_each_status_becomes_the_error_that_says_what_to_do(session, echo, status, on_read, on_write):
    echo.reply = Response(status, {"message": "the reason"})
    assert type(raised(session)) is on_read
    assert type(raised(session, write=True)) is on_write


def test_a_404_is_not_a_certain_deletion_but_a_410_is(session, echo):
    echo.reply = Response(404, {})
    assert raised(session).certain is False
    echo.reply = Response(410, {})
    assert raised(session).certain is True


def test_a_busy_503_that_says_when_to_come_back_was_not_applied(session, echo):
    echo.reply = Response(503, None, {"Retry-After": "7"})
    waits = []
    session.on_limit = waits.append
    error = raised(session, write=True)
    assert type(error) is RateLimited
    assert error.after == 7
    assert waits == [7]


def test_retry_after_may_be_a_date_and_is_measured_with_the_senders_clock(session, echo):
    echo.reply = Response(
        429, None, {"Retry-After": "Sat, 01 Jan 2000 00:01:30 GMT", "Date": "Sat, 01 Jan 2000 00:01:00 GMT"}
    )
    assert raised(session).after == 30


def test_an_absurd_wait_is_cut_and_a_missing_one_is_guessed(session, echo):
    echo.reply = Response(429, None, {"Retry-After": "99999999999"})
    assert raised(session).after == http.LONGEST_WAIT
    echo.reply = Response(429, None, {"Retry-After": "soon"})
    assert raised(session).after == http.WAIT_WHEN_LIMITED


def test_a_connectors_own_table_comes_before_the_general_one(session, echo):
    echo.reply = Response(404, {"message": "x"})
    table = {404: lambda answer: Refused("my own", {"a": "b"}) if answer.write else None}
    assert raised(session, write=True, table=table).fields == {"a": "b"}
    assert type(raised(session, table=table)) is Gone


@pytest.mark.parametrize(
    ("status", "headers", "outage"),
    [
        (500, {}, True),
        (502, {}, True),
        (503, {}, True),
        (503, {"Retry-After": "5"}, False),  # it asks us to wait
        (429, {}, False),
        (400, {}, False),
        (401, {}, False),
        (404, {}, False),
        (409, {}, False),
        (412, {}, False),
    ],
)
def test_only_a_failure_of_the_system_itself_counts_as_an_outage(session, echo, status, headers, outage):
    echo.reply = Response(status, {"message": "x"}, headers)
    assert raised(session).outage is outage
    assert raised(session, write=True).outage is outage
    table = {500: lambda answer: Retry("mine"), 502: lambda answer: Refused("this record")}
    assert raised(session, table=table).outage is (outage and status != 502)


def test_a_line_that_breaks_counts_as_an_outage_and_the_answer_s_headers_are_told(session, echo):
    told = []
    session.on_headers = lambda kind, status, headers: told.append((kind, status, headers.get("X-Left")))
    echo.reply = Response(200, {}, {"X-Left": "7"})
    session.request("GET", "/rest/x")
    session.address = "http://127.0.0.1:1"
    assert raised(session).outage
    assert told == [("read", 200, "7"), ("read", 0, None)]


def test_a_status_the_caller_expects_is_returned(session, echo):
    echo.reply = Response(404, {"message": "x"})
    assert session.request("GET", "/rest/x", ok=(404,)).status == 404


def test_no_redirect_is_followed_and_its_target_is_named(session, echo):
    echo.reply = Response(302, None, {"Location": "/login?to=x"})
    error = raised(session)
    assert isinstance(error, Retry)
    assert f"{session.address}/login?to=x" in error.message
    assert len(echo.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_write_that_is_sent_on_may_have_been_taken(session, echo, status):
    """A 303 is the ordinary answer to a form that was taken, and others are used like it."""
    echo.reply = Response(status, None, {"Location": "/made/7"})
    error = raised(session, write=True)
    assert type(error) is Uncertain
    assert f"{session.address}/made/7" in error.message and "Nothing was" not in error.message
    assert len(echo.requests) == 1


def test_an_address_on_another_host_gets_nothing(session, echo):
    for url in ("https://evil.example/rest/x", session.address.replace("127.0.0.1", "127.0.0.2") + "/rest/x"):
        with pytest.raises(Retry, match="another host"):
            session.request("GET", url)
    with pytest.raises(Retry, match="is no web address"):
        session.request("GET", "file:///etc/passwd")
    assert session.request("GET", session.address + "/rest/next?page=2").ok
    assert [r.path for r in echo.requests] == ["/rest/next"]


def test_a_second_host_can_be_trusted(session, echo):
    session.address, there = "https://login.example", session.address
    session.trust(there)
    assert session.request("GET", there + "/rest/x").ok


def test_a_lost_answer_to_a_write_is_uncertain_and_to_a_read_harmless(session, echo):
    echo.fault("drop_after", times=2)
    assert type(raised(session)) is Retry
    assert type(raised(session, write=True)) is Uncertain
    assert len(echo.requests) == 2


def test_a_late_answer_to_a_write_is_uncertain(session, echo):
    echo.fault("delay", seconds=0.3, times=2)
    assert type(raised(session, read_timeout=0.05)) is Retry
    assert type(raised(session, write=True, read_timeout=0.05)) is Uncertain


def test_a_write_that_found_nobody_was_not_sent():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        session = Session(f"http://127.0.0.1:{unused.getsockname()[1]}")
        error = raised(session, write=True)
    assert type(error) is Retry
    assert "Nothing was sent" in error.message


def test_an_unknown_host_was_not_sent_anything(monkeypatch):
    def no_such_name(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    assert type(raised(Session("https://nowhere.example"), write=True)) is Retry


def plain_text(server: socket.socket) -> None:
    peer, _ = server.accept()
    peer.recv(65536)
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    peer.close()


def test_a_server_without_tls_behind_https_was_not_sent_anything():
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=plain_text, args=(server,))
        thread.start()
        error = raised(Session(f"https://127.0.0.1:{server.getsockname()[1]}", name="Jira"), write=True)
        thread.join()
    assert type(error) is Retry
    assert "certificate was not accepted" in error.message


def test_a_page_that_is_no_json_is_an_error_and_after_a_write_an_open_question(session, echo):
    echo.reply = Response(200, "<html>please log in</html>")
    assert type(raised(session)) is Retry
    assert type(raised(session, write=True)) is Uncertain


def test_an_empty_answer_is_fine(session, echo):
    echo.reply = Response(204, None)
    assert session.request("DELETE", "/rest/x", write=True).json is None


def test_a_file_is_there_byte_for_byte_where_one_is_expected(session, echo):
    content = bytes(range(256))
    echo.reply = Response(200, content)
    assert session.request("GET", "/rest/x", any_text=True).body == content
    assert type(raised(session)) is Retry


def test_an_answer_that_is_too_big_is_cut_off(session, echo, monkeypatch):
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1000)
    echo.reply = Response(200, "[" + "1," * 1000 + "1]")
    assert type(raised(session)) is Retry
    assert type(raised(session, write=True)) is Uncertain
    echo.reply = Response(400, "x" * 2000)
    assert type(raised(session, write=True)) is Refused


def half_an_answer(server: socket.socket) -> None:
    peer, _ = server.accept()
    peer.recv(65536)
    peer.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id": 1')
    peer.close()


def test_half_an_answer_to_a_write_is_uncertain():
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=half_an_answer, args=(server,))
        thread.start()
        assert type(raised(Session(f"http://127.0.0.1:{server.getsockname()[1]}"), write=True)) is Uncertain
        thread.join()


def test_secrets_never_show_in_an_error(session, echo):
    session.hide("later-token")
    echo.reply = Response(400, {"message": "bad s3cret-token, later-token and Bearer abcdefghijkl"})
    message = raised(session).message
    assert "s3cret" not in message
    assert "later-token" not in message
    assert "abcdefgh" not in message


def test_calls_are_asked_for_before_and_counted_after(session, echo):
    before, after = [], []
    session.before_call = before.append
    session.on_call = lambda kind, status, seconds: after.append((kind, status, seconds >= 0))
    session.request("GET", "/rest/x")
    session.request("POST", "/rest/x", write=True)
    session.request("POST", "/rest/x", kind="auth")
    echo.fault("drop_after")
    raised(session)
    assert before == ["read", "write", "auth", "read"]
    assert after == [("read", 200, True), ("write", 200, True), ("auth", 200, True), ("read", 0, True)]


def test_a_later_session_uses_the_open_connection_and_a_forked_child_does_not(session, monkeypatch):
    peers = []
    connect = guard.create_connection
    monkeypatch.setattr(guard, "create_connection", lambda *a, **k: peers.append(a[0]) or connect(*a, **k))
    for _ in range(2):
        assert Session(session.address).request("GET", "/rest/x").ok
    assert len(peers) == 1
    monkeypatch.setattr(http.os, "getpid", lambda: -1)
    assert Session(session.address).request("GET", "/rest/x").ok
    assert len(peers) == 2


def test_a_call_that_has_to_wait_is_not_made(session, echo):
    def wait(kind):
        raise RateLimited("wait", after=3)

    session.before_call = wait
    assert raised(session).after == 3
    assert echo.requests == []


@pytest.mark.parametrize(
    "text", ["NaN", '{"a": Infinity}', '{"a": 1e999}', "[" + "1" * 500 + "]", "[" * 300 + "]" * 300, "[" * 100_000, "{"]
)
def test_numbers_and_nesting_that_we_cannot_keep_are_no_json(text):
    assert parse_json(text) is None


def test_what_no_database_takes_is_replaced():
    assert parse_json('{"a\\u0000": ["x\\ud800y", "\\ud83d\\ude00"]}') == {"a": ["x\ufffdy", "😀"]}


def test_ordinary_json_comes_through_as_it_is():
    value = {"a": [1, 2.5, None, True, "ü"], "b": {"c": 12345678901234567890}}
    assert parse_json(json.dumps(value)) == value
