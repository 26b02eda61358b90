"""How quickly webhooks are acknowledged: signed ones at a fixed rate against the running web server."""

from __future__ import annotations

import hashlib
import hmac
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import CommandError

from connections.models import Connection
from sync.models import Link

GOAL_MS = 100


def measure(rate: float, seconds: float) -> str:
    """Send `rate` a second for `seconds`, from a process of its own, and say how long the answers took."""
    jira = Connection.objects.get(kind="jira")
    ids = list(Link.objects.exclude(left_id=None).values_list("left_id", "left_key"))
    if not ids:
        raise CommandError("The demo has no linked pair yet. Nothing was measured. Wait until its first run is done.")
    server = urlsplit(settings.PUBLIC_URL)
    load = {
        "host": server.hostname,
        "port": server.port or 80,
        "path": f"/hooks/{jira.webhook_token}/",
        "rate": rate,
        "requests": [_request(jira, *map(str, ids[number % len(ids)])) for number in range(int(rate * seconds))],
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "load.json"
        file.write_text(json.dumps(load))
        command = [sys.executable, "-m", "syncadmin.bench.load", str(file)]
        answers = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - ourselves
    return line(rate, seconds, json.loads(answers))


def _request(jira: Connection, id: str, key: str) -> dict[str, Any]:
    """An edit by a person as Jira tells it, with a text of the usual length."""
    secrets: Any = jira.secrets
    body = {
        "timestamp": int(time.time() * 1000),
        "webhookEvent": "jira:issue_updated",
        "user": {"accountId": "somebody"},
        "issue": {"id": id, "key": key, "fields": {"summary": "s", "description": "d" * 3000}},
        "changelog": {"items": [{"field": "description", "fieldId": "description", "toString": "d" * 3000}]},
    }
    raw = json.dumps(body)
    signature = hmac.new(str(secrets["webhook_secret"]).encode(), raw.encode(), hashlib.sha256).hexdigest()
    headers = {"X-Hub-Signature": f"sha256={signature}", "X-Atlassian-Webhook-Identifier": str(uuid.uuid4())}
    return {"headers": headers, "body": raw}


def line(rate: float, seconds: float, answers: list[tuple[float, int]]) -> str:
    """The figures in a line. `answers`: (seconds, status), as load.py prints them."""
    times = sorted(took * 1000 for took, _ in answers)

    def at(part: float) -> float:
        return times[min(len(times) - 1, int(part * len(times)))]

    statuses = Counter(status for _, status in answers)
    other = {status: number for status, number in statuses.items() if status != 200}
    verdict = "within" if at(0.99) <= GOAL_MS else "NOT within"
    return (
        f"Webhooks: {rate:g} a second for {seconds:g} s, {statuses[200]} acknowledged, others {other or 'none'}; "
        f"p50 {at(0.5):.0f} ms, p95 {at(0.95):.0f} ms, p99 {at(0.99):.0f} ms ({verdict} {GOAL_MS} ms), "
        f"worst {times[-1]:.0f} ms"
    )
