"""The try beside each section of a description: what it calls, and what it found. Only reading calls; see write_tries.

Everything goes through the connection's guarded client and its budget; nothing of a try is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from connections.connectors.base import (
    ConnectorError,
    DeliveryRequest,
    Gone,
    NeedsAuthorization,
    NotAllowed,
    Record,
)
from connections.connectors.proofs import Verdict
from connections.connectors.rest import Rest
from connections.connectors.rest_auth import uses_token
from connections.connectors.rest_check import account_of
from connections.connectors.rest_definition import ObjectType, Times
from connections.connectors.rest_guess import ACCOUNTS, LIFETIMES, LOGINS, MESSAGES, PROBLEMS, TOKENS, named, record_in
from connections.connectors.rest_paths import look
from connections.connectors.rest_webhook import parse as parse_delivery
from connections.list_tries import SHOWN_RECORDS, show, try_list
from connections.models import Connection
from connections.trial import Trial, belongs_to, counted, finish, objects_at, open_tried

ANY_STATUS = frozenset(range(100, 600)) - frozenset(range(300, 400))  # a redirect is told as one
NOT_THERE = "syncadmin-not-there"  # an id that no system gives


def run(
    connection: Connection, where: str, given: Mapping[str, str], unticked: tuple[ObjectType, Times] | None = None
) -> Trial:
    """Try a section of a connection that is as it was entered. given: what the try itself asks (a path, an id)."""
    trial = Trial(unticked=unticked)
    connector = None
    try:
        connector = open_tried(connection)
        _try_of(where)(connector, where, given, trial)
    except ConnectorError as error:
        trial.trouble = error.message or "The system did not answer."
        trial.at = belongs_to(error, connector.context.http if connector else None, where)
    finally:
        if connector:
            trial.fills |= _fills(connector, where, trial)
        finish(connector, trial)
    return trial


def _fills(connector: Rest, where: str, trial: Trial) -> dict[str, str]:
    """What the last answer suggests for inputs that stand wrong or empty: the places of what is looked for in it."""
    http = connector.context.http
    last = http.exchanges[-1] if http.exchanges else None
    if last is None or last.json is None:
        return {}
    sought = {
        "sign-in": bool(trial.trouble) and last.kind == "auth" and last.status < 300,
        "who": bool(trial.trouble) and last.status < 300,
        "answers": last.status >= 400 and not connector.definition.errors.message,
    }
    if where.endswith(".read") and trial.trouble and last.status < 300:
        own = objects_at(connector, where).type
        return {"read__record": at} if (at := record_in(last.json, own.place.id)) else {}
    if not sought.get(where):
        return {}
    found = {input: named(last.json, names, *kinds) for input, names, kinds in SUGGESTED[where]}
    return {input: path for input, path in found.items() if path}


def _try_of(where: str) -> Callable[[Rest, str, Mapping[str, str], Trial], None]:
    last = where.rpartition(".")[2]
    if where in BY_SECTION:
        return BY_SECTION[where]
    return BY_SECTION.get(last, try_list)


def _system(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    path = given.get("try_path", "").strip() or "/"
    headers = connector.client.texts(connector.definition.headers)
    answer = connector.context.http.request("GET", path, headers=headers, ok=ANY_STATUS, any_text=True)
    trial.found("ok", "It answers", f"with status {answer.status} in {answer.elapsed:.1f} s, not signed in.")
    if answer.status in (404, 405):
        trial.found("info", "Nothing is at this very path", "That is usual for the address of an API itself.")
    if answer.ok and answer.json is None and answer.text.strip():
        page = answer.text.lstrip().startswith("<")
        what = "a page for people" if page else "no JSON"
        trial.found("warn", f"It answers with {what}", "The address of the API is often another one, like …/api.")


def _sign_in(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    how, client = connector.definition.authentication, connector.client
    if uses_token(how):
        connector.context.tokens.renew(None, client._fetch)
        trial.found("ok", "A token came back", f"at “{how.token}”.")
    path = given.get("try_path", "").strip() or _path_for_sign_in(connector)
    try:
        answer = client.call("GET", path, about="list", ok=() if path != "/" else (404, 405))
    except NeedsAuthorization:
        if how.prefix and how.method == "header":
            text = f"“{how.prefix}”. Empty “Before the key or token” where the system wants the key alone."
            trial.found("info", "The key was sent after", text)
        raise
    if answer.ok:
        trial.found("ok", "Signed in", "The call was answered.")
    else:
        trial.found("info", "Nothing is at this path", "So the sign-in is not proved. Enter a path of the API to try.")


def _path_for_sign_in(connector: Rest) -> str:
    account = connector.definition.account
    if account and account.path:
        return connector.client.path(account.path, user=str(connector.context.settings.get("user", "")))
    for each in connector.definition.object_types:
        if each.list and each.list.path and not each.parent:
            return connector.client.path(each.list.path)
    return "/"


def _who(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    own = connector.definition.account
    if own and own.path:
        id, name, tenant, offset = account_of(connector.client)
        trial.found("ok", f"We are {name}", f"id {id}, site {tenant}.")
        if offset is not None:
            trial.found("info", "Its clock", f"is {abs(offset):.0f} s {'ahead of' if offset >= 0 else 'behind'} ours.")
    else:
        trial.found("info", "No call says who we are", "The account is named after the sign-in.")
    if connector.definition.people:
        people = connector.lookups.search(given.get("try_query", ""))
        kind = "ok" if people else "warn"
        trial.found(kind, f"{len(people)} people can be chosen", ", ".join(name for _, name in people[:SHOWN_RECORDS]))


def _answers(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    definition, client = connector.definition, connector.client
    listed = next((each for each in definition.object_types if each.list and each.list.path and not each.parent), None)
    if listed and listed.list:
        answer = client.call("GET", client.path(listed.list.path), about="list", ok=ANY_STATUS)
        for header in (definition.limits.remaining_header, definition.limits.reset_header):
            if header:
                value = answer.headers.get(header)
                trial.found("ok" if value else "warn", header, value or "is not in the answer.")
    path = (listed.list.path.rstrip("/") if listed and listed.list else "") + f"/{NOT_THERE}"
    try:
        answer = client.call("GET", client.path(path), about="record", ok=ANY_STATUS)
    except NotAllowed as error:
        trial.found("info", "An error, as people will read it", error.message)
        return
    said = look(definition.errors.message, answer.json)
    if answer.ok:
        trial.found("info", "Even a record that is not there is answered well", "So this shows no error.")
    elif said:
        trial.found("ok", "The error says", str(said))
    elif definition.errors.message:
        trial.found("warn", f"Nothing is at “{definition.errors.message}”", "See the answer below for where it is.")
    elif isinstance(answer.json, Mapping):
        keys = ", ".join(map(str, answer.json))
        trial.found("info", "The error has", f"{keys}. Say where its message is, so that people read it.")


def _read(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    objects = objects_at(connector, where)
    ids = [id for id in given.get("try_id", "").replace(",", " ").split() if id]
    if not ids and objects.type.list and objects.type.list.path and not objects.type.parent:
        ids = [record.external_id for record in next(objects.lister.pages([])).records[:2]]
    if not ids:
        trial.found("info", "Which one?", "The list shows no record: enter an id.")
        return
    fields = [each.name for each in objects.type.fields]
    shown: list[Record] = []
    one, many = objects.type.read, objects.type.read_many
    if one and one.path:
        try:
            raw = objects.read_one(ids[0], fields)
        except Gone:
            raw = None
        if raw is None:
            trial.found("bad", f"The record {ids[0]} was not found", "It is in the list. Check the path.")
        else:
            trial.found("ok", "One record is read", f"id {raw.record.external_id}, version {raw.record.version}.")
            shown = [raw.record]
    if many:
        found = objects.read(ids, fields)
        kind = "ok" if len(found) == len(ids) else "bad"
        trial.found(kind, f"{len(found)} of {len(ids)} are read in one call")
        shown = list(found.values()) or shown
    show(objects.type, shown, [], connector.definition.times, trial)


def _bell(connector: Rest, where: str, given: Mapping[str, str], trial: Trial) -> None:
    """Nothing is called: a delivery that a person pastes is read."""
    body = given.get("try_body", "").strip()
    if not connector.definition.webhook or not body:
        trial.found("info", "Paste a delivery", "A body as the system sends it, from its documentation or its log.")
        return
    request = DeliveryRequest("POST", "/", {}, body.encode())
    try:
        read = parse_delivery(connector.definition, request, Verdict(False))
    except ValueError as error:
        trial.found("bad", "It cannot be read", f"{error}.")
        return
    kind = "ok" if read.hints else "warn"
    trial.found(
        kind,
        f"{counted(len(read.hints), 'record')} {'is' if len(read.hints) == 1 else 'are'} named",
        f"The event is called “{read.event}”.",
    )
    for hint in read.hints[:SHOWN_RECORDS]:
        trial.found(
            "info", f"{hint.object_type} {hint.external_id}", "was deleted." if hint.deleted else "may have changed."
        )


SUGGESTED: dict[str, tuple[tuple[str, Sequence[str], tuple[type, ...]], ...]] = {
    "sign-in": (("authentication__token", TOKENS, (str,)), ("authentication__expires_in", LIFETIMES, (int,))),
    "who": (("account__id", ACCOUNTS, (str, int)), ("account__name", LOGINS, (str,))),
    "answers": (("errors__message", MESSAGES, (str,)), ("errors__fields", PROBLEMS, (Mapping,))),
}
BY_SECTION: dict[str, Callable[[Rest, str, Mapping[str, str], Trial], None]] = {
    "system": _system,
    "sign-in": _sign_in,
    "who": _who,
    "answers": _answers,
    "bell": _bell,
    "read": _read,
    "list": try_list,
}
