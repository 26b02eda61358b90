from django.urls import path

from connections import webhooks

urlpatterns = [
    path("hooks/<str:webhook_token>/", webhooks.receive, name="webhook"),
]
