"""Secrets at rest: encrypted JSON, write-only in the UI, absent from every repr.

Keys: setting CREDENTIAL_KEYS, newest first (Fernet keys). A dedicated list, so that SECRET_KEY can be rotated
without losing credentials.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import FieldError
from django.db import models


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def box() -> MultiFernet:
    """The encryption in force; follows a changed setting."""
    return _box(tuple(settings.CREDENTIAL_KEYS))


class Secrets(dict[str, Any]):
    """A dict that never shows its values."""

    def __repr__(self) -> str:
        return f"<Secrets: {', '.join(sorted(self)) or 'none'}>"

    __str__ = __repr__


class EncryptedJSONField(models.TextField):
    """A JSON object stored encrypted. Cannot be searched; reads back as `Secrets`."""

    def get_prep_value(self, value: Any) -> str:
        return box().encrypt(json.dumps(dict(value or {})).encode()).decode()

    def from_db_value(self, value: str | None, expression: object, connection: object) -> Secrets:
        return self.to_python(value)

    def to_python(self, value: Any) -> Secrets:
        if isinstance(value, Mapping):
            return Secrets(value)
        if not value:
            return Secrets()
        try:
            return Secrets(json.loads(box().decrypt(value.encode())))
        except InvalidToken:
            raise ValueError(
                "A stored secret cannot be read with any key in CREDENTIAL_KEYS. Nothing was changed. "
                "Put the key it was stored with back into CREDENTIAL_KEYS and restart."
            ) from None

    def value_to_string(self, obj: models.Model) -> str:
        return "{}"

    def get_lookup(self, lookup_name: str) -> Any:
        raise FieldError("Encrypted fields cannot be searched.")


def masked(secret: str) -> str:
    """How a stored secret is hinted at on pages: its last four characters, if it is long enough to spare them."""
    return "•••• " + secret[-4:] if len(secret) >= 12 else "••••"  # 12: four shown leave eight unknown


def redact(text: str, secrets: Mapping[str, Any]) -> str:
    """`text` without any of the secrets' values."""
    for value in _strings(secrets):
        text = text.replace(value, "••••")
    return text


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, str) and len(value) >= 6:  # shorter ones would blank out ordinary words
        yield value
