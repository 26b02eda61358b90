"""What pages say about a connection's live changes."""

from __future__ import annotations

from django.conf import settings
from django.urls import reverse

from connections.bells import Health, health_of, unheard_since
from connections.models import Connection
from connections.usage import Use, carried_since
from connections.views.kinds import kind_of


def webhook_url(connection: Connection) -> str:
    return settings.PUBLIC_URL + reverse("webhook", args=[connection.webhook_token])


def health(connection: Connection, uses: list[Use]) -> Health | None:
    kind = kind_of(connection)
    if kind is None:
        return None
    since = unheard_since(connection.webhook_made_at, connection.bell_seen_at)
    unheard = carried_since(uses, since)
    return health_of(kind.capabilities.bell, connection.name, connection.bell_seen_at, unheard, bool(uses))
