"""Pages for what did not work: not allowed, not found, form too old, our own failure."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from connections.access import Denied, roles_of, who_may
from connections.hooks import audit


def _page(request: HttpRequest, status: int, title: str, text: str, todo: str = "") -> HttpResponse:
    user = getattr(request, "user", None)
    known = user is not None and user.is_authenticated
    template = "error.html" if known else "bare_error.html"
    return render(request, template, {"title": title, "text": text, "todo": todo}, status=status)


def forbidden(request: HttpRequest, exception: Any = None) -> HttpResponse:
    """403 that says who may; a refusal by role is a line in the audit log."""
    if not isinstance(exception, Denied):
        return _page(request, 403, "Not allowed", "This page is not open to you. Nothing was changed.")
    audit(
        "denied",
        "denied",
        user=request.user,
        mapping=exception.mapping,
        params={"action": exception.action, "path": request.path[:300], "method": request.method},
    )
    if not roles_of(request.user):
        text, todo = (
            "You have no role yet, so there is nothing to show. Nothing was changed.",
            "Ask an admin for a role.",
        )
        return _page(request, 403, "No role yet", text, todo)
    where = f" on {exception.mapping}" if exception.mapping is not None else ""
    text = f"This takes {who_may(exception.action)}{where}. Nothing was changed, and the audit log keeps a line."
    return _page(request, 403, "Your role does not reach this far", text, "Ask an admin if you need it.")


def not_found(request: HttpRequest, exception: Any = None) -> HttpResponse:
    text = "There is no such page, or it belongs to a mapping you have no role on. Nothing was changed."
    return _page(request, 404, "Not found", text, "Check the address, or look the record up by its key.")


def form_too_old(request: HttpRequest, reason: str = "") -> HttpResponse:
    text = "The form you sent does not carry a valid token; you may have logged in again since. Nothing was changed."
    return _page(request, 403, "This form is too old", text, "Go back, load the page again and repeat it.")


def failed(request: HttpRequest) -> HttpResponse:
    """500: drawn without the shell, which may be what fails."""
    context = {
        "title": "Something failed here",
        "text": "SyncAdmin could not draw this page. What was not confirmed was not done; syncs go on.",
        "todo": "Try again. If it stays, the server's log has the reason.",
    }
    return render(request, "bare_error.html", context, status=500)
