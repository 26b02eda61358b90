"""All addresses. Our own pages come first; unfold's site at `/` takes what is left."""

from importlib.util import find_spec

from django.contrib import admin
from django.urls import include, path

from syncadmin.health import healthz
from syncadmin.views import home, queues, users
from syncadmin.views.login import LoginView, LogoutView, PasswordView

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("password/", PasswordView.as_view(), name="password"),
    path("", home.page, name="home"),
    path("users/", users.listing, name="users"),
    path("users/add/", users.add, name="user-add"),
    path("users/<int:pk>/", users.edit, name="user"),
    path("users/<int:pk>/active/", users.activate, name="user-active"),
    path("users/<int:pk>/password/", users.reset_password, name="user-password"),
    path("users/<int:pk>/unlock/", users.unlock, name="user-unlock"),
    path("queues/", queues.page, name="queues"),
    *(path("", include(name)) for name in ("connections.urls", "mappings.urls", "sync.urls") if find_spec(name)),
    path("", admin.site.urls),
]

handler403 = "syncadmin.views.errors.forbidden"
handler404 = "syncadmin.views.errors.not_found"
handler500 = "syncadmin.views.errors.failed"
