"""A public document read once from its address: an OpenAPI description, before there is a connection to its system."""

from __future__ import annotations

from urllib.parse import urlsplit

from connections.connectors.base import NotAllowed
from connections.connectors.http import Session


def fetch_text(url: str, longest: int) -> str:
    """Through the guarded client, without credentials or redirects. Raises ConnectorError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise NotAllowed("That is no address of a document. Nothing was read. Enter it as https://…")
    session = Session(f"{parts.scheme}://{parts.netloc}", name=parts.hostname or "")
    accepted = {"Accept": "application/json, application/yaml, text/yaml, text/plain"}
    answer = session.request("GET", url, headers=accepted, any_text=True)
    if len(answer.text) > longest:
        raise NotAllowed(f"The document is larger than {longest // 1_000_000} MB. Nothing was taken. Cut it down.")
    return answer.text
