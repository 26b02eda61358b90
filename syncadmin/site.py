"""The admin site at `/`: unfold's, opened by roles instead of Django's staff flag."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from csp.constants import UNSAFE_INLINE
from django.db import models
from django.http import HttpRequest, HttpResponse
from unfold.sites import UnfoldAdminSite

from connections.access import roles_of

# Model forms of other apps (users, sessions, lock-outs) would pass by our roles and our audit log.
OWN_APPS = frozenset({"connections", "mappings", "sync"})


class SyncAdminSite(UnfoldAdminSite):
    final_catch_all_view = False
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        return bool(roles_of(request.user))

    def register(
        self, model_or_iterable: type[models.Model] | Iterable[type[models.Model]], *args: Any, **options: Any
    ) -> None:
        given = [model_or_iterable] if isinstance(model_or_iterable, type) else list(model_or_iterable)
        own = [model for model in given if model._meta.app_label in OWN_APPS]
        if own:
            super().register(own, *args, **options)

    def admin_view(self, view: Callable[..., HttpResponse], cacheable: bool = False) -> Callable[..., HttpResponse]:
        inner = super().admin_view(view, cacheable)

        @wraps(inner)
        def with_inline_styles(*args: Any, **kwargs: Any) -> HttpResponse:
            response = inner(*args, **kwargs)
            response._csp_update = {"style-src": [UNSAFE_INLINE]}  # unfold's widgets carry style attributes
            return response

        return with_inline_styles
