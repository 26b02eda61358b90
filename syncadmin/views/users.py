"""Users and roles: who may log in, and what as. For admins; every change is a line in the audit log."""

from __future__ import annotations

import secrets
from typing import Any

from axes.models import AccessAttempt
from axes.utils import reset
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST

from connections.access import requires
from connections.hooks import audit
from syncadmin.forms import PersonForm, described

PASSWORD_BYTES = 12  # 96 bits; it is typed once and then replaced


@requires("users.manage")
def listing(request: HttpRequest) -> HttpResponse:
    people = list(User.objects.prefetch_related("role_assignments__mappings").order_by("-is_active", "username"))
    locked = locked_names()
    rows = [{"person": person, "locked": person.username.lower() in locked} for person in people]
    return render(request, "users/list.html", {"rows": rows, "active": sum(person.is_active for person in people)})


def locked_names() -> set[str]:
    """User names whose log-in is closed from some address just now, in lower case."""
    since = timezone.now() - settings.AXES_COOLOFF_TIME
    attempts = AccessAttempt.objects.filter(
        failures_since_start__gte=settings.AXES_FAILURE_LIMIT, attempt_time__gte=since
    )
    return {name.lower() for name in attempts.values_list("username", flat=True) if name}


def _audit(request: HttpRequest, code: str, person: User, **details: Any) -> None:
    audit("users", code, user=request.user, object_label=person.username, params={"name": person.username}, **details)


@requires("users.manage")
def add(request: HttpRequest) -> HttpResponse:
    form = PersonForm(User(), _acting(request), request.POST or None)
    if form.is_valid():
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        with transaction.atomic():
            form.person.set_password(password)
            person = form.save()
            _audit(request, "user_created", person, after=described(person))
        return _show_password(request, person, password)
    return render(request, "users/form.html", {"form": form}, status=422 if form.errors else 200)


def _acting(request: HttpRequest) -> User:
    return User.objects.get(username=request.user.get_username())


def _show_password(request: HttpRequest, person: User, password: str) -> HttpResponse:
    """The one answer that holds it: it is kept nowhere, so there is nothing to redirect to."""
    response = render(request, "users/password.html", {"person": person, "password": password})
    response["Cache-Control"] = "no-store"
    return response


@requires("users.manage")
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    person = get_object_or_404(User, pk=pk)
    before = described(person)
    form = PersonForm(person, _acting(request), request.POST or None)
    if form.is_valid():
        with transaction.atomic():
            form.save()
            after = described(User.objects.get(pk=pk))
            _audit(request, "user_changed", person, before=before, after=after)
        messages.success(request, f"{person} is saved. · It holds from their next page on.")
        return redirect("users")
    context = {"form": form, "person": person, "locked": person.username.lower() in locked_names()}
    return render(request, "users/form.html", context, status=422 if form.errors else 200)


@requires("users.manage")
@require_POST
def activate(request: HttpRequest, pk: int) -> HttpResponse:
    """Open or close an account; `active` says which. Their entries in the audit log stay."""
    person = get_object_or_404(User, pk=pk)
    wanted = request.POST.get("active") == "1"
    if person.pk == request.user.pk and not wanted:
        messages.error(request, "You cannot deactivate yourself. · Nothing was changed. · Ask another admin.")
        return redirect("user", pk)
    if person.is_active != wanted:
        with transaction.atomic():
            person.is_active = wanted
            person.save(update_fields=["is_active"])
            _audit(request, "user_activated" if wanted else "user_deactivated", person)
        messages.success(request, f"{person} can log in again." if wanted else f"{person} is logged out everywhere.")
    return redirect("users")


@requires("users.manage")
@require_POST
def reset_password(request: HttpRequest, pk: int) -> HttpResponse:
    """A new random password, shown once; every session of theirs ends."""
    person = get_object_or_404(User, pk=pk)
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    with transaction.atomic():
        person.set_password(password)
        person.save(update_fields=["password"])
        _audit(request, "password_reset", person)
    return _show_password(request, person, password)


@requires("users.manage")
@require_POST
def unlock(request: HttpRequest, pk: int) -> HttpResponse:
    """Let a locked user name try again at once."""
    person = get_object_or_404(User, pk=pk)
    with transaction.atomic():
        reset(username=person.username)
        _audit(request, "user_unlocked", person)
    messages.success(request, f"{person} may log in again.")
    return redirect("users")
