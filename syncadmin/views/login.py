"""Log in, log out, and the lock-out page; each leaves a line in the audit log."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import views
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse_lazy

from connections.hooks import audit

LONGEST_NAME = 150  # Django's limit for user names; what is typed may be anything


def _typed_name(request: HttpRequest) -> str:
    return request.POST.get("username", "")[:LONGEST_NAME]


class LoginView(views.LoginView):
    template_name = "login.html"
    redirect_authenticated_user = True

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_valid(form)
        audit("login", "login", user=form.get_user(), params={"address": _address(self.request)})
        return response

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        # A locked-out try is told by `locked_out`, which runs after this.
        if _typed_name(self.request) and not getattr(self.request, "axes_locked_out", False):
            params = {"name": _typed_name(self.request), "address": _address(self.request)}
            audit("login", "login_failed", actor=_typed_name(self.request), actor_kind="person", params=params)
        return super().form_invalid(form)


class LogoutView(views.LogoutView):
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            audit("login", "logout", user=request.user, params={"address": _address(request)})
        return super().post(request, *args, **kwargs)


def locked_out(request: HttpRequest, response: HttpResponse | None, credentials: Any, *args: Any) -> HttpResponse:
    """Called by axes instead of the login page, for every try while the log-in is closed."""
    params = {"name": _typed_name(request), "address": _address(request)}
    audit("login", "login_locked", actor=_typed_name(request), actor_kind="person", params=params)
    minutes = int(settings.AXES_COOLOFF_TIME.total_seconds() // 60)
    return render(request, "locked.html", {"limit": settings.AXES_FAILURE_LIMIT, "minutes": minutes}, status=429)


def _address(request: HttpRequest) -> str:
    return request.META.get("REMOTE_ADDR", "")


class PasswordView(views.PasswordChangeView):
    """Everybody's own password."""

    template_name = "account/password.html"
    success_url = reverse_lazy("home")

    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        audit("login", "password_changed", user=self.request.user, params={"address": _address(self.request)})
        messages.success(self.request, "Your password is changed. · Your other sessions ended.")
        return response
