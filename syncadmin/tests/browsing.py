"""A real browser for tests, logged in, which notes what its pages complain about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import BrowserContext, sync_playwright

CHROMIUM = "/usr/bin/chromium"


@contextmanager
def browsing(person: User, url: str, size: tuple[int, int], scheme: str) -> Iterator[tuple[BrowserContext, list[str]]]:
    """A logged-in context and what its pages complain about. Ends before the database is touched again."""
    session = Client()
    session.force_login(person)
    cookie = {"name": settings.SESSION_COOKIE_NAME, "value": session.cookies[settings.SESSION_COOKIE_NAME].value}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        context.add_cookies([{**cookie, "url": url}])
        complaints: list[str] = []
        context.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        yield context, complaints
        chromium.close()
