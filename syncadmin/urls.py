"""All addresses. Our own pages come first; unfold's site at `/` takes what is left."""

from importlib.util import find_spec

from django.contrib import admin
from django.urls import include, path

from syncadmin.health import healthz
from syncadmin.views import home
from syncadmin.views.login import LoginView, LogoutView

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("login/", LoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", home.page, name="home"),
    *(path("", include(name)) for name in ("connections.urls", "mappings.urls", "sync.urls") if find_spec(name)),
    path("", admin.site.urls),
]

handler403 = "syncadmin.views.errors.forbidden"
handler404 = "syncadmin.views.errors.not_found"
handler500 = "syncadmin.views.errors.failed"
