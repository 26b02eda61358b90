"""What the bench counts, and that its load generator keeps its rate: a wrong figure would be believed."""

from __future__ import annotations

import asyncio

import pytest

from syncadmin.bench.load import run, written
from syncadmin.bench.trouble import figures, too_early
from syncadmin.bench.webhooks import line


def test_the_time_counts_from_the_planned_moment_and_a_slow_server_slows_nobody() -> None:
    async def measured() -> list[tuple[float, int]]:
        open_at_once = most = 0

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal open_at_once, most
            open_at_once += 1
            most = max(most, open_at_once)
            await reader.readuntil(b"\r\n\r\n")
            await enough.wait() if most < 5 else enough.set()
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            writer.close()
            open_at_once -= 1

        enough = asyncio.Event()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            load = {"host": "127.0.0.1", "port": port, "path": "/", "rate": 500}
            return await run({**load, "requests": [{"headers": {}, "body": "{}"}] * 5})

    answers = asyncio.run(measured())
    assert [status for _, status in answers] == [200] * 5  # nobody was answered before all five had come
    assert answers[0][0] >= 4 / 500


def test_a_server_that_is_away_is_told_as_no_answer() -> None:
    load = {"host": "127.0.0.1", "port": 1, "path": "/", "rate": 1000, "requests": [{"headers": {}, "body": ""}]}
    assert [status for _, status in asyncio.run(run(load))] == [0]


def test_a_request_is_written_whole() -> None:
    load = {"host": "h", "port": 80, "path": "/hooks/x/"}
    raw = written(load, {"headers": {"X-Signature": "abc"}, "body": "{}"})
    assert raw.startswith(b"POST /hooks/x/ HTTP/1.1\r\nHost: h:80\r\n") and raw.endswith(b"X-Signature: abc\r\n\r\n{}")


def test_the_line_says_whether_the_goal_was_met() -> None:
    good = line(200, 30, [(0.005, 200)] * 99 + [(0.09, 200)])
    assert "100 acknowledged, others none" in good and "p99 90 ms (within 100 ms)" in good
    assert "NOT within" in line(200, 30, [(0.2, 200), (0.3, 503)]) and "{503: 1}" in line(200, 30, [(0.3, 503)])


@pytest.mark.parametrize(
    ("moments", "early", "on_their_way"),
    [
        ([], 0, 0),
        ([(10.0, 10.01)], 0, 0),
        ([(10.0, 10.01), (10.005, 10.02)], 0, 1),  # left before anybody had heard
        ([(10.0, 10.01), (10.07, 10.08)], 1, 0),
        ([(10.0, 10.01), (14.0, 14.01)], 1, 0),  # 10 ms too soon
        ([(10.0, 10.01), (14.02, 14.03), (14.04, 14.05), (18.1, 18.2)], 0, 1),  # each wait counts from its own answer
        ([(10.0, 10.01), (12.0, 12.01), (14.02, 14.03)], 1, 0),
    ],
)
def test_calls_before_their_time_are_counted(moments: list[tuple[float, float]], early: int, on_their_way: int) -> None:
    assert too_early(moments, 4.0) == (early, on_their_way)


def test_figures_name_the_slow_ones() -> None:
    assert figures([1.0] * 99 + [9.0]) == "median 1.00 s, p95 1.00 s, worst 9.00 s"
