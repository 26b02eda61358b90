"""SOQL run over the org's records, and records shown as a query's answer shows them."""

from __future__ import annotations

from collections.abc import Sequence

from connections.sandbox.salesforce_org import Org
from connections.sandbox.salesforce_paths import Getter, field_at, follow, getter, table_of
from connections.sandbox.salesforce_schema import Doc, SObject
from connections.sandbox.salesforce_soql_parser import Parser, Query


def run(org: Org, text: str, *, deleted: bool) -> tuple[Query, list[Doc]]:
    """Parse and run; `deleted` also finds records in the recycle bin and archived ones. Raises Problem."""
    query = Parser(org, text, deleted).query()
    name = query.sobject.name
    with org.lock:
        table = org.tables[name]
        candidates = table if query.ids is None else sorted(query.ids)
        rows = [table[i] for i in candidates if i in table]
    # Archived activities are found like deleted records only.
    shown = [r for r in rows if deleted or not (r["IsDeleted"] or r.get("IsArchived"))]
    rows = [r for r in shown if r["Id"] not in org.unshared]
    if query.where:
        rows = [r for r in rows if query.where(r)]
    for path, down, nulls_last in reversed(query.order):
        get = _sort_key(org, query.sobject, path)
        filled = sorted((r for r in rows if get(r) is not None), key=get, reverse=down)
        empty = [r for r in rows if get(r) is None]
        rows = filled + empty if nulls_last else empty + filled
    rows = rows[query.offset :]
    return query, rows[: query.limit] if query.limit is not None else rows


def render(org: Org, sobject: SObject, paths: Sequence[str], doc: Doc, base: str) -> Doc:
    """One record as an answer shows it; `base`: "/services/data/v62.0"."""
    shown: Doc = {"attributes": {"type": sobject.name, "url": f"{base}/sobjects/{sobject.name}/{doc['Id']}"}}
    for path in paths:
        _place(org, sobject, path.split("."), doc, shown, base)
    return shown


def _place(org: Org, sobject: SObject, path: list[str], doc: Doc, shown: Doc, base: str) -> None:
    if len(path) == 1:
        item = sobject.fields[path[0]]
        shown[item.name] = item.formula(doc) if item.formula else doc.get(item.name)
        return
    reference = sobject.by_relationship(path[0])
    assert reference is not None
    assert reference.relationship is not None
    target = follow(org, reference, doc)
    if target is None:
        shown[reference.relationship] = None
        return
    other, kind = target
    url = f"{base}/sobjects/{table_of(org, other).name}/{other['Id']}"
    inner = shown.setdefault(reference.relationship, {"attributes": {"type": kind.name, "url": url}})
    _place(org, kind, path[1:], other, inner, base)


def _sort_key(org: Org, sobject: SObject, path: str) -> Getter:
    get, item = getter(org, sobject, path), field_at(org, sobject, path)
    if item.type == "picklist" and item.values:  # in the order of the list's definition
        rank = {v: i for i, v in enumerate(item.values)}
        return lambda doc: None if get(doc) is None else rank.get(get(doc), len(rank))
    if item.type in ("id", "reference", "datetime"):
        return get
    return lambda doc: get(doc).lower() if isinstance(get(doc), str) else get(doc)
