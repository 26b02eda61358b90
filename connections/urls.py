from django.urls import path

from connections import webhooks
from connections.views import act, browse, deliveries, live, overview, pauses, setup, watching

urlpatterns = [
    path("hooks/<str:webhook_token>/", webhooks.receive, name="webhook"),
    path("connections/", overview.listing, name="connections"),
    path("connections/add/", setup.choose, name="connection-add"),
    path("connections/add/<slug:kind>/", setup.create, name="connection-create"),
    path("connections/<int:pk>/", overview.show, name="connection"),
    path("connections/<int:pk>/edit/", setup.edit, name="connection-edit"),
    path("connections/<int:pk>/delete/", setup.delete, name="connection-delete"),
    path("connections/<int:pk>/test/", act.test, name="connection-test"),
    path("connections/<int:pk>/probe/", act.probe, name="connection-probe"),
    path("connections/<int:pk>/pause/", pauses.pause, name="connection-pause"),
    path("connections/<int:pk>/resume/", pauses.resume, name="connection-resume"),
    path("connections/<int:pk>/windows/", pauses.change, name="connection-windows"),
    path("connections/<int:pk>/accept/", act.accept, name="connection-accept"),
    path("connections/<int:pk>/live/", live.page, name="connection-live"),
    path("connections/<int:pk>/live/first/", live.first, name="connection-first-event"),
    path("connections/<int:pk>/webhook/", live.subscribe, name="connection-subscribe"),
    path("connections/<int:pk>/webhook/end/", live.unsubscribe, name="connection-unsubscribe"),
    path("connections/<int:pk>/webhook/address/", live.replace_address, name="connection-webhook-address"),
    path("connections/<int:pk>/deliveries/", deliveries.listing, name="connection-deliveries"),
    path("connections/<int:pk>/deliveries/replay/", deliveries.replay_span, name="connection-replay-span"),
    path("connections/<int:pk>/deliveries/<int:delivery>/replay/", deliveries.replay_one, name="connection-replay"),
    path("connections/<int:pk>/triggers/", watching.page, name="connection-watching"),
    path("connections/<int:pk>/browse/", browse.page, name="connection-browse"),
]
