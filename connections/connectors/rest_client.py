"""Calls to a described API: signed in, with its headers, and with its own way to say that something failed."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from connections.connectors import rest_auth as auth
from connections.connectors.base import ConnectorError, Context, NeedsAuthorization, Retry
from connections.connectors.http import Answer
from connections.connectors.rest_definition import Condition, Definition, ObjectType
from connections.connectors.rest_errors import as_error, inside_success, used_up
from connections.connectors.rest_paths import fill


class Client:
    """One API as one connection sees it. `names`: what every template may use, the connection's own parameters."""

    def __init__(self, definition: Definition, context: Context) -> None:
        self.definition = definition
        self.context = context
        own = {each.name: context.settings.get(each.name) or each.default for each in definition.parameters}
        self.names: dict[str, str] = {**own, "address": context.address}

    def path(self, template: str, **names: str) -> str:
        return fill(template, {**self.names, **names}, quoted=True)

    def texts(self, templates: Mapping[str, str], **names: Any) -> dict[str, str]:
        return {name: fill(template, {**self.names, **names}) for name, template in templates.items()}

    def sought(self, parameter: str, template: str, value: str) -> dict[str, str]:
        """The parameter of a list that looks for a value."""
        return self.texts({parameter: template}, value=value, json=jsonlib.dumps(value, ensure_ascii=False))

    def call(
        self,
        method: str,
        path: str,
        *,
        about: str,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        write: bool = False,
        ok: Collection[int] = (),
        object_type: ObjectType | None = None,
        condition: Condition | None = None,
    ) -> Answer:
        """One call, with one new sign-in where a token has ended. `about`: see rest_errors.as_error."""
        how = self.definition.authentication
        fixed = self.texts(self.definition.headers)

        def said(answer: Answer) -> ConnectorError | None:
            return as_error(self.definition, answer, about=about, object_type=object_type, condition=condition)

        def send(token: Mapping[str, Any] | None) -> Answer:
            carried = auth.sign_in(how, self.context, token)
            answer: Answer = self.context.http.request(
                method,
                path,
                params={**(params or {}), **carried.params},
                json=json,
                headers={**fixed, **carried.headers, **(headers or {})},
                auth=carried.auth,
                write=write,
                ok=ok,
                table={0: said},
            )
            return answer

        answer = self._signed_in(send) if auth.uses_token(how) else send(None)
        wait = used_up(self.definition.limits, answer)
        if wait and self.context.http.on_limit:
            self.context.http.on_limit(wait)
        failed = inside_success(self.definition, answer, write=write, object_type=object_type)
        if failed:
            raise failed
        return answer

    def _signed_in(self, send: Callable[[Mapping[str, Any] | None], Answer]) -> Answer:
        tokens = self.context.tokens
        token = tokens.current()
        if auth.ended(token):
            token = tokens.renew(token, self._fetch)
        try:
            return send(token)
        except NeedsAuthorization:
            # Refused, so nothing happened there: the token may have been withdrawn before its time.
            return send(tokens.renew(token, self._fetch))

    def _fetch(self) -> dict[str, Any]:
        return auth.fetch_token(self.definition, self.context, self.names)

    def unusable(self, what: str, error: type[Retry] = Retry) -> Retry:
        """An answer that is none of what was asked for."""
        return error(
            f"{self.definition.name} answered with something else than {what}. Nothing was read or written. Correct "
            "the description of the API if it stays so."
        )
