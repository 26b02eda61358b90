"""How a small JSON API behaves: what its makers chose, one habit each, as real ones differ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Habits:
    sign_in: str = "header"  # header, query, basic, bearer, login, client_credentials, none
    paging: str = "page"  # page, offset, cursor, link_header, next_url, none
    page_size: int = 100  # the most it gives, whatever is asked for
    counts: bool = True  # lists say how many there are in all
    changes: bool = True  # lists know "changed since"
    exclusive: bool = False  # "changed since" leaves the moment itself out
    prefix: str = ">="  # before the moment
    deleted: str = (
        "404"  # 404, 410, flag (the record stays, marked), tombstone (in the list), retired (only lists lack it)
    )
    condition: str = "etag"  # etag (If-Match), required (If-Match, or 428), lock (a field of the body), none
    mismatch_status: int = 412
    write: str = "PATCH"  # PATCH, PUT (the whole record)
    answers: bool = True  # writes answer with the record; else 204, and 201 with a Location
    wrap: str = ""  # bodies lie in here
    quiet: bool = False  # what is refused is left as it was, with success
    idempotent: bool = False  # Idempotency-Key
    many: bool = True  # GET /things?ids=1,2
    # What a list does wrong on purpose: again (the same page for ever), circle (the cursors go round), short (it ends
    # before its count), broken (one entry without an id).
    lists: str = ""
