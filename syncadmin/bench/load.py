"""A load generator of its own process: sends prepared requests at a fixed rate, whether or not answers come.

`python -m syncadmin.bench.load FILE`: FILE is JSON, {"host", "port", "path", "rate" (a second), "requests":
[{"headers", "body"}]}. Prints JSON, [[seconds from the planned moment to the answer's end, status], …]; status 0: no
answer. The planned moment counts, not the moment of sending: a server that stalls cannot hide it by holding us up.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

GIVE_UP_SECONDS = 20.0  # what vendors wait at most before they call a delivery failed


def written(load: dict[str, Any], request: dict[str, Any]) -> bytes:
    """One request as bytes. A connection each, as vendors send them."""
    body = request["body"].encode()
    head = [f"POST {load['path']} HTTP/1.1", f"Host: {load['host']}:{load['port']}", "Connection: close"]
    head += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    head += [f"{name}: {value}" for name, value in request["headers"].items()]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def send(host: str, port: int, raw: bytes, planned: float) -> tuple[float, int]:
    status = 0
    try:
        async with asyncio.timeout(GIVE_UP_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(raw)
            answer = await reader.read()
            status = int(answer.split(b" ", 2)[1])
            writer.close()
    except (OSError, TimeoutError, IndexError, ValueError):
        pass
    return time.perf_counter() - planned, status


async def run(load: dict[str, Any]) -> list[tuple[float, int]]:
    raw = [written(load, request) for request in load["requests"]]
    begin = time.perf_counter() + 0.2
    sent = []
    for number, each in enumerate(raw):
        planned = begin + number / load["rate"]
        await asyncio.sleep(max(0.0, planned - time.perf_counter()))
        sent.append(asyncio.create_task(send(load["host"], load["port"], each, planned)))
    return list(await asyncio.gather(*sent))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(run(json.loads(Path(sys.argv[1]).read_text())))))
