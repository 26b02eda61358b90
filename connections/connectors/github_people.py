"""Accounts of GitHub as person values: an e-mail address where its owner shows it, else the account's id.

Records name accounts by id and login. The address stands in the profile alone, which costs a call once an hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from connections.connectors.base import Gone, NotAllowed, Refused
from connections.connectors.github_site import Site, remembered
from connections.connectors.github_values import ACCOUNT, is_account

REMEMBER_SECONDS = 3600.0
SUGGESTIONS = 20  # more is no help in a list to choose from
MOST_ASSIGNEES = 10  # GitHub's own limit


def values(site: Site, accounts: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The person value by account id."""
    return {str(one["id"]): _value(site, one) for one in accounts}


def _value(site: Site, account: Mapping[str, Any]) -> str:
    known = remembered(site, "people", REMEMBER_SECONDS)
    id, login = str(account["id"]), str(account["login"])
    if id not in known:
        told: Mapping[str, str] = {}
        if account.get("type") != "Bot":
            # Its profile may be hidden, or the account gone.
            with suppress(Gone, NotAllowed):
                told = _note(site, site.read(f"/users/{quote(login, safe='')}", one=f"user {login}").json)
        # ⚑ Not before the look: whoever asks meanwhile would take the id for all there is, and for an edit.
        known[id] = told.get(id, f"{ACCOUNT}{id}")
    value: str = known[id]
    return value


def _note(site: Site, profile: Any) -> dict[str, str]:
    """The person value by account id."""
    if not is_account(profile):
        return {}
    email = str(profile.get("email") or "").strip().lower()
    value = email if "@" in email else f"{ACCOUNT}{profile['id']}"
    remembered(site, "people", REMEMBER_SECONDS)[str(profile["id"])] = value
    remembered(site, "logins", REMEMBER_SECONDS)[value] = profile["login"]
    return {str(profile["id"]): value}


def login_of(site: Site, repository: str, value: str) -> str | Refused:
    """The login of the person a value names, if issues of the repository can be assigned to them; else why not."""
    logins = remembered(site, "logins", REMEMBER_SECONDS)
    if value not in logins:
        try:
            _look_up(site, value)
        except Gone:
            return Refused(_unknown(value))
    login = logins.get(value)
    if login is None:
        return Refused(_unknown(value))
    allowed = remembered(site, f"assignable {repository}", REMEMBER_SECONDS)
    if login not in allowed:
        try:
            site.call("GET", site.path(repository, "assignees", login), one=f"assignee {login}")
        except Gone:
            return Refused(
                f"GitHub does not let issues of {repository} be assigned to {login}. The field was not changed. Give "
                "them access to the repository, or map the person to somebody else."
            )
        allowed[login] = True
    return str(login)


def _look_up(site: Site, value: str) -> None:
    id = value.removeprefix(ACCOUNT)
    if value.startswith(ACCOUNT):
        if id.isdecimal():
            profile = site.read(f"/user/{id}", one=f"user {id}").json
            _note(site, profile)
            if is_account(profile) and str(profile["id"]) == id:
                remembered(site, "logins", REMEMBER_SECONDS)[value] = profile["login"]
        return
    if "@" not in value or '"' in value:
        return
    body = site.call("GET", "/search/users", params={"q": f'"{value}" in:email', "per_page": "5"}).json
    for found in body.get("items") or [] if isinstance(body, Mapping) else []:
        if is_account(found):  # the search compares parts of addresses; the profile has the whole one
            _note(site, site.read(f"/users/{quote(found['login'], safe='')}", one=f"user {found['login']}").json)


def _unknown(value: str) -> str:
    return (
        f"GitHub shows no user {value.removeprefix(ACCOUNT)}: most people hide their e-mail address there. The field "
        "was not changed. Map the person to a GitHub account by hand."
    )


def search(site: Site, text: str) -> list[tuple[str, str]]:
    """(person value, login) of people whom issues can be assigned to."""
    found: dict[str, str] = {}
    for repository in site.repositories():
        for page in site.pages(repository, "assignees"):
            fitting = [one for one in page if is_account(one) and text.lower() in one["login"].lower()]
            found |= {_value(site, one): str(one["login"]) for one in fitting[: SUGGESTIONS - len(found)]}
            if len(found) >= SUGGESTIONS:
                return list(found.items())
    return list(found.items())
