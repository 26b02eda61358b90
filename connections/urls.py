from django.urls import path

from connections import webhooks
from connections.views import act, browse, overview, pauses, setup

urlpatterns = [
    path("hooks/<str:webhook_token>/", webhooks.receive, name="webhook"),
    path("connections/", overview.listing, name="connections"),
    path("connections/add/", setup.choose, name="connection-add"),
    path("connections/add/<slug:kind>/", setup.create, name="connection-create"),
    path("connections/<int:pk>/", overview.show, name="connection"),
    path("connections/<int:pk>/edit/", setup.edit, name="connection-edit"),
    path("connections/<int:pk>/delete/", setup.delete, name="connection-delete"),
    path("connections/<int:pk>/test/", act.test, name="connection-test"),
    path("connections/<int:pk>/pause/", pauses.pause, name="connection-pause"),
    path("connections/<int:pk>/resume/", pauses.resume, name="connection-resume"),
    path("connections/<int:pk>/windows/", pauses.change, name="connection-windows"),
    path("connections/<int:pk>/accept/", act.accept, name="connection-accept"),
    path("connections/<int:pk>/webhook/", act.subscribe, name="connection-subscribe"),
    path("connections/<int:pk>/browse/", browse.page, name="connection-browse"),
]
