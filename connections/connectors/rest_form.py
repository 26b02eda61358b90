"""What a connection to a described API has to fill in, and where the parts lie in its row. Pure.

`Connection.settings`: {"definition": the plain data of a Definition (kind "rest" only), "user", "client_id", and every
parameter by its name}; `Connection.secrets`: {"password", "key", "client_secret", "webhook_secret"}.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from connections.connectors.base import FormField
from connections.connectors.rest_definition import Authentication, Definition
from connections.connectors.rest_rules import placeholders_in

DEFINITION = "definition"  # key of Connection.settings

DESCRIPTION = FormField(DEFINITION, "Description of the API", multiline=True)
USER = FormField("user", "User name")
PASSWORD = FormField("password", "Password", secret=True)
KEY = FormField("key", "API key", secret=True, help="As the system gave it, without a word before it.")
CLIENT_ID = FormField("client_id", "Client id")
CLIENT_SECRET = FormField("client_secret", "Client secret", secret=True)
WEBHOOK_SECRET = FormField(
    "webhook_secret",
    "Webhook secret",
    secret=True,
    required=False,
    help="The same text as at the system. It proves that deliveries come from there.",
)
PARTS = {each.name: each.label for each in (USER, PASSWORD, KEY, CLIENT_ID, CLIENT_SECRET, WEBHOOK_SECRET)}
# What a connection of the kind "rest" can hold; which of it is needed, its definition says.
ALL = tuple(replace(each, required=False) for each in (USER, PASSWORD, KEY, CLIENT_ID, CLIENT_SECRET, WEBHOOK_SECRET))


def credentials(how: Authentication) -> Sequence[FormField]:
    """What a sign-in needs of a connection."""
    match how.method:
        case "none":
            return ()
        case "basic" if not how.key_as:
            return (USER, PASSWORD)
        case "client_credentials":
            return (CLIENT_ID, CLIENT_SECRET)
        case "login":
            used = placeholders_in(how.body)
            return tuple(each for each in (USER, PASSWORD, KEY) if each.name in used)
    return (KEY,)


def destinations(definition: Definition) -> frozenset[str]:
    """Origins that secrets are sent to beside the connection's address: where one of them is new, they are asked for
    again, so that nobody who changes a description gets at secrets that were entered for another place."""
    path = definition.authentication.token_path
    parts = urlsplit(path)
    return frozenset({f"{parts.scheme}://{parts.netloc}"} if parts.scheme else ())


def inputs(definition: Definition) -> Sequence[FormField]:
    """Everything a connection fills in beside its name and address."""
    own = [
        FormField(each.name, each.label or each.name, required=each.required, help=each.help, default=each.default)
        for each in definition.parameters
    ]
    bell = [WEBHOOK_SECRET] if definition.webhook and definition.webhook.signature_header else []
    return (*own, *credentials(definition.authentication), *bell)
