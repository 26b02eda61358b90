"""HTTP verbs of a GitHub server: signed-in calls, reads that cost nothing while unchanged, pages, repositories.

A repository is an object type. Where it was renamed GitHub sends us on; we follow, and its records stay what they are.
"""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

from connections.connectors import github_auth as auth
from connections.connectors.base import ConnectorError, Context, Gone, NeedsAuthorization, NotAllowed, Retry, Uncertain
from connections.connectors.github_errors import as_error
from connections.connectors.github_values import is_account, number_of
from connections.connectors.http import Answer

PAGE_ROWS = 100  # the most GitHub gives
END_ROWS = 30  # of a list's end: what somebody and we wrote within some seconds; a shorter last page is not enough
COMMENTS = "comments"
# A repository's settings, labels and types are taken up after this long; a mapping editor asks afresh.
DESCRIBE_SECONDS = 600.0
# Answers kept to ask "changed since?": an issue has 5 KB; huge ones are not worth the memory.
KEPT_ANSWERS = 400
LARGEST_KEPT = 200_000
NOT_MODIFIED = 304
TRANSFERS = 5  # of one issue that are followed, from one repository to the next
MOVED = (301, 302, 307, 308)
UNKNOWN_FORM = "GitHub answered in a form we do not know."

_NAME = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")
_NEXT, _LAST, _PREVIOUS = (re.compile(rf'<([^<>]+)>;\s*rel="{rel}"') for rel in ("next", "last", "prev"))

_memory: dict[tuple[str, ...], dict[str, Any]] = {}
_answers: OrderedDict[tuple[str, ...], tuple[str, Any, str]] = OrderedDict()  # (ETag, JSON, Link)
_guard = threading.Lock()


class Site:
    """One server as one connection sees it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.web, self.base = addresses(context.address)
        if urlsplit(self.base)[:2] != urlsplit(context.address)[:2]:
            context.http.trust(self.base)

    # Calls -----------------------------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        write: bool = False,
        one: str = "",
        sent: Sequence[str] = (),
        ok: Sequence[int] = (),
        tag: str = "",
    ) -> Answer:
        """One signed-in call, with one new sign-in where an app's token has ended. path: below the API's address, or
        a whole URL. one: what the path names, if it is a single record. tag: an ETag, which may be answered by 304.

        An answer that sends us on on the same server is returned, and for the caller to judge.
        """
        url = path if path.startswith("http") else self.base + path

        def send(token: str) -> Answer:
            headers = auth.headers_with(token) | ({"If-None-Match": tag} if tag else {})
            answer: Answer = self.context.http.request(
                method,
                url,
                params=params,
                json=json,
                headers=headers,
                write=write,
                ok=(*MOVED, *((NOT_MODIFIED,) if tag else ()), *ok),
                table={0: lambda answer: as_error(answer, one=one, sent=sent)},
            )
            if answer.status in MOVED:
                self._same_server(answer)
            return answer

        if not auth.is_app(self.context):
            return send(self.context.secrets.get("token", ""))
        token = self.context.tokens.current() or self._renewed(None)
        try:
            return send(str(token.get("token", "")))
        except NeedsAuthorization:
            return send(str(self._renewed(token).get("token", "")))

    def _renewed(self, stale: dict[str, Any] | None) -> dict[str, Any]:
        """A token other than `stale`, fetched by whichever worker comes first."""
        return self.context.tokens.renew(
            stale, lambda: auth.fetch_token(self.context, self.base, self.repositories()[0])
        )

    def _same_server(self, answer: Answer) -> None:
        """Raises Retry where we are sent to another server: credentials go nowhere else."""
        target = location(answer)
        if urlsplit(target)[:2] != urlsplit(self.base)[:2]:
            shown = self.context.http.redact(target)
            raise Retry(
                f"GitHub sends us on to {shown}. Nothing was read or written. If that is the right address, enter it "
                "in the connection.",
                after=60.0,
            )

    def read(
        self, path: str, *, params: Mapping[str, str] | None = None, one: str = "", ok: Sequence[int] = ()
    ) -> Answer:
        """The answer of a GET. What we have read before is asked for by its ETag: unchanged, it costs nothing."""
        key = (*self.identity, path, urlencode(params or {}))
        with _guard:
            tag, body, link = _answers.get(key, ("", None, ""))
        answer = self.call("GET", path, params=params, one=one, ok=ok, tag=tag)
        if answer.status == NOT_MODIFIED:
            return replace(answer, status=200, json=body, headers={**answer.headers, "Link": link})
        fresh = answer.headers.get("ETag", "")
        with _guard:
            _answers.pop(key, None)
            if answer.status == 200 and fresh and len(answer.text) <= LARGEST_KEPT and not _ends_full(answer):
                _answers[key] = (fresh, answer.json, answer.headers.get("Link", ""))
                while len(_answers) > KEPT_ANSWERS:
                    _answers.popitem(last=False)
        return answer

    def pages(
        self, repository: str, *parts: str | int, params: Mapping[str, str] | None = None, one: str = ""
    ) -> Iterator[list[Any]]:
        """All pages of a list below a repository, each a list of objects. Raises Retry where it does not go on."""
        query = {**(params or {}), "per_page": str(PAGE_ROWS)}
        answer = self._there(repository, parts, lambda path: self.read(path, params=query, one=one), one)
        seen: set[str] = set()
        while True:
            rows = rows_in(answer)
            following = next_page(answer)
            if following in seen:
                raise Retry(
                    "GitHub's list does not go on: it shows again what it has shown. Nothing was taken over. We read "
                    "again."
                )
            yield rows
            if not following:
                return
            if not rows:
                raise Retry("GitHub's list has no end: it goes on with empty pages. Nothing was taken over.")
            seen.add(following)
            answer = self._listed(following, one)

    def newest(self, repository: str, *parts: str | int, one: str = "") -> list[Any]:
        """The end of a list that begins with the oldest: some rows at least, where there are as many."""
        query = {"per_page": str(PAGE_ROWS)}
        first = self._there(repository, parts, lambda path: self.read(path, params=query, one=one), one)
        last = _LAST.search(first.headers.get("Link", ""))
        if last is None:
            return rows_in(first)
        answer, seen = self._listed(last[1], one), {last[1]}
        while (following := next_page(answer)) and following not in seen:
            answer = self._listed(following, one)  # the first page is as it was, and so is what it said of the end
            seen.add(following)
        rows, before = rows_in(answer), _PREVIOUS.search(answer.headers.get("Link", ""))
        if len(rows) >= END_ROWS or before is None:
            return rows
        return [*rows_in(self._listed(before[1], one)), *rows]

    def _listed(self, address: str, one: str) -> Answer:
        answer = self.call("GET", address, one=one)
        if answer.status in MOVED:
            raise self.moved("")
        return answer

    def issue(self, repository: str, number: int) -> tuple[Mapping[str, Any], str]:
        """An issue as GitHub tells it, and the repository it is in now: it may have been transferred, also back, under
        another number.

        Raises Gone, `certain` where GitHub says that it was deleted, and Retry for what is no issue.
        """
        one = f"issue {repository}#{number}"
        answer = self.read(self.path(repository, "issues", number), one=one)
        if answer.status in MOVED and self.renamed(repository):
            answer = self.read(self.path(repository, "issues", number), one=one)
        if answer.status not in MOVED:
            if number_of(answer.json) != number:
                raise unknown(False)
            return answer.json, repository
        for _ in range(TRANSFERS):
            answer = self.read(location(answer), one=one)
            if answer.status not in MOVED:
                break
        else:
            raise self.moved("")
        where = re.search(r"/repos/([^/]+/[^/]+)\Z", str(number_of(answer.json) and answer.json.get("repository_url")))
        if not where:
            raise unknown(False)
        return answer.json, where[1]

    def write(
        self,
        method: str,
        repository: str,
        *parts: str | int,
        json: Any = None,
        one: str = "",
        sent: Sequence[str] = (),
        ok: Sequence[int] = (),
    ) -> Answer:
        """A writing call below a repository. Raises Gone where the issue was transferred."""
        return self._there(
            repository,
            parts,
            lambda path: self.call(method, path, json=json, write=True, one=one, sent=sent, ok=ok),
            one,
        )

    def _there(self, repository: str, parts: Sequence[str | int], ask: Callable[[str], Answer], one: str) -> Answer:
        answer = ask(self.path(repository, *parts))
        if answer.status in MOVED and self.renamed(repository):
            answer = ask(self.path(repository, *parts))
        if answer.status in MOVED:
            raise self.moved(one)
        return answer

    def moved(self, one: str) -> ConnectorError:
        if one:
            return Gone(
                f"GitHub says that {one} was transferred to another repository. Nothing was changed here.",
                certain=False,
            )
        return Retry("GitHub sends us on in circles. Nothing was read or written. We try again.")

    # Repositories ----------------------------------------------------------------------------------------------

    def repositories(self) -> list[str]:
        """Those named in the connection. Raises NotAllowed where there are none, or a name cannot be one."""
        named = re.split(r"[\s,]+", self.context.settings.get("repositories", "").strip())
        found = [name.removesuffix(".git") for name in named if name]
        wrong = [name for name in found if not _NAME.fullmatch(name)]
        if wrong or not found:
            raise NotAllowed(
                f"{'“' + wrong[0] + '” is no repository' if wrong else 'No repository is named'}. Nothing was read or "
                "written. Name repositories like acme/app in the connection."
            )
        return list(dict.fromkeys(found))

    def path(self, repository: str, *parts: str | int) -> str:
        """The path below a repository, under the name it has now."""
        if not _NAME.fullmatch(repository) or set(repository.split("/")) & {".", ".."}:
            raise NotAllowed(f"“{repository}” is no repository. Nothing was read or written. Check the mapping.")
        name = remembered(self, "names", DESCRIBE_SECONDS).get(repository.lower(), repository)
        return "/".join(["/repos", name, *(quote(str(part), safe="") for part in parts)])

    def renamed(self, repository: str) -> bool:
        """Whether GitHub knows the repository by another name than we used; then we use that from now on."""
        known = remembered(self, "names", DESCRIBE_SECONDS)
        answer = self.call("GET", self.path(repository))
        if answer.status not in MOVED:
            return False
        found = self.call("GET", location(answer)).json
        name = found.get("full_name") if isinstance(found, Mapping) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name) or known.get(repository.lower()) == name:
            raise self.moved("")
        known[repository.lower()] = name
        return True

    def repository(self, name: str, fresh: bool = False) -> Mapping[str, Any]:
        """What GitHub says of a repository. Raises NotAllowed where another one has taken its name."""
        known = remembered(self, "repositories", DESCRIBE_SECONDS)
        if fresh or name not in known:
            answer = self.read(self.path(name))
            if answer.status in MOVED and self.renamed(name):
                answer = self.read(self.path(name))
            body = answer.json
            if not isinstance(body, Mapping) or type(body.get("id")) is not int:
                raise unknown(False)
            self._still_the_same(name, body["id"])
            known[name] = body
        found: Mapping[str, Any] = known[name]
        return found

    def _still_the_same(self, name: str, id: int) -> None:
        """⚑ Issues are known by their numbers, and another repository under the old name counts from 1 again."""
        ids = self.context.state.get("repositories", {})
        if ids.get(name, id) != id:
            raise NotAllowed(
                f"Behind the name {name} is another repository now; its issue numbers mean other issues. Nothing was "
                "read or written. Make a new connection for it, or correct the name in this one."
            )
        if name not in ids:
            self.context.state.change("repositories", lambda kept: {name: id, **(kept or {})})

    # Who ---------------------------------------------------------------------------------------------------------

    def me(self) -> Mapping[str, Any]:
        """Our own account: id, login, type. An app acts as its bot."""
        known = remembered(self, "me", DESCRIBE_SECONDS)
        if "me" not in known:
            if auth.is_app(self.context):
                slug = str(auth.as_app(self.context, f"{self.base}/app").json.get("slug") or "")
                body = self.read(f"/users/{quote(slug, safe='')}%5Bbot%5D").json
            else:
                body = self.read("/user").json
            if not is_account(body):
                raise unknown(False)
            known["me"] = body
        me: Mapping[str, Any] = known["me"]
        return me

    def my_id(self) -> str:
        return str(self.me()["id"])

    # Memory --------------------------------------------------------------------------------------------------------

    def forget(self) -> None:
        """Take up changes of repositories, labels, types and people at once. Answers kept by ETag are never stale."""
        with _guard:
            for what in [key for key in _memory if key[1:] == self.identity]:
                del _memory[what]

    @property
    def identity(self) -> tuple[str, str, str]:
        settings = self.context.settings
        return (self.context.address, self.context.name, settings.get("app_id", ""))


def addresses(address: str) -> tuple[str, str]:
    """(address for people, address of the API) of what was entered: GitHub.com, GHE.com, or a server of one's own."""
    given = address.rstrip("/").removesuffix("/api/v3")
    parts = urlsplit(given)
    host = (parts.hostname or "").removeprefix("www.")
    if host in ("github.com", "api.github.com"):
        return "https://github.com", "https://api.github.com"
    if host.endswith(".ghe.com"):
        host = host.removeprefix("api.")
        return f"https://{host}", f"https://api.{host}"
    return given, f"{given}/api/v3"


def graphql_address(base: str) -> str:
    return f"{base.removesuffix('/v3')}/graphql" if base.endswith("/api/v3") else f"{base}/graphql"


def split(object_type: str) -> tuple[str, bool]:
    """(repository, whether its comments are meant)."""
    if object_type.count("/") == 2 and object_type.endswith(f"/{COMMENTS}"):
        return object_type.removesuffix(f"/{COMMENTS}"), True
    return object_type, False


def location(answer: Answer) -> str:
    return urljoin(answer.url, answer.headers.get("Location", ""))


def next_page(answer: Answer) -> str:
    found = _NEXT.search(answer.headers.get("Link", ""))
    return found[1] if found else ""


def _ends_full(answer: Answer) -> bool:
    """⚑ A list whose end fills its page: the page stays the same, and its ETag with it, when another one follows."""
    return isinstance(answer.json, list) and len(answer.json) >= PAGE_ROWS and not next_page(answer)


def rows_in(answer: Answer) -> list[Any]:
    """What is no list of objects is no answer, and not "there are none". Raises Retry."""
    rows = answer.json
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise unknown(False)
    return rows


def unknown(write: bool) -> ConnectorError:
    if write:
        return Uncertain(f"{UNKNOWN_FORM} It may have taken our change or not; we look before anything is sent again.")
    return Retry(f"{UNKNOWN_FORM} Nothing was taken over. We read again.")


def remembered(site: Site, what: str, seconds: float) -> dict[str, Any]:
    """What this process has learned about a server, forgotten `seconds` after the first entry."""
    key = (what, *site.identity)
    now = time.monotonic()
    with _guard:
        entry = _memory.get(key)
        if entry is None or entry["until"] < now:
            entry = _memory[key] = {"until": now + seconds, "known": {}}
        known: dict[str, Any] = entry["known"]
        return known
