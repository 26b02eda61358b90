"""What a run would do now: everything is read and decided, nothing is written, no cursor or hint moves."""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.utils import timezone

from connections.connectors.base import ConnectorError
from mappings.models import Mapping
from sync.lease import Lease
from sync.matching import Unlinked, noted
from sync.merge import Ask
from sync.models import ChangedRecord, Cursor, Link, Run
from sync.plan import plan_link
from sync.plan_unlinked import Bind, MakeTwin, Wonder, plan_unlinked
from sync.read import Reading, SideFailed, read_into, since_of
from sync.session import SIDES, Session, open_session
from sync.state import both_ids, instruction_views, link_view, load

# Records decided at once, so that memory stays flat however many wait.
BATCH = 100


def dry_run(mapping: Mapping, started_by: str = "") -> dict[str, Any]:
    """{"looked_at", "update": {side: n}, "create": {side: n}, "link", "review", "agree", "samples": [...]}.

    Raises SideFailed. Takes no lease: it changes nothing.
    """
    session = open_session(mapping, Lease(mapping.pk, 0), Run.Kind.DRY, "verify", started_by)
    result: dict[str, Any] = {
        "looked_at": 0,
        "update": Counter(dict.fromkeys(SIDES, 0)),
        "create": Counter(dict.fromkeys(SIDES, 0)),
        "link": 0,
        "agree": 0,
        "review": 0,
        "samples": [],
    }
    seen: set[int] = set()
    for side in SIDES:
        ids = _changed(session, side)
        for start in range(0, len(ids), BATCH):
            _look(session, side, ids[start : start + BATCH], result, seen)
    run = session.ensure_run()
    session.done = result["looked_at"]
    result["update"], result["create"] = dict(result["update"]), dict(result["create"])
    session.progress(state=Run.State.DONE, finished_at=timezone.now(), preview=result)
    return {"run": run.pk, **result}


def _changed(session: Session, side: str) -> list[str]:
    """Ids that wait as hints or that the list shows as changed since the cursor."""
    found = dict.fromkeys(
        ChangedRecord.objects.filter(mapping=session.mapping, side=side).values_list("external_id", flat=True)
    )
    connector = session.connectors[side]
    cursor = Cursor.objects.filter(mapping=session.mapping, side=side).first() or Cursor()
    since, _ = since_of(cursor, connector, timezone.now())
    try:
        for page in connector.changed_since(session.object_type(side), since, session.paths(side), session.scope(side)):
            found.update(dict.fromkeys(record.external_id for record in page.records if not record.deleted))
    except ConnectorError as error:
        raise SideFailed(side, error) from error
    return list(found)


def _look(session: Session, side: str, ids: list[str], result: dict[str, Any], seen: set[int]) -> None:
    batch = load(session, {side: ids})
    of_record = batch.by_record()
    reading = Reading()
    read_into(session, reading, both_ids(batch.links))
    read_into(session, reading, {side: ids})
    alone = [
        Unlinked(side, record)
        for external_id in ids
        if (side, external_id) not in of_record and (record := reading.get(side, external_id)) and not record.deleted
    ]
    fits = noted(session, alone)
    fitting = {one.record.external_id: fits[id(one)] for one in alone}
    for external_id in ids:
        result["looked_at"] += 1
        record = reading.get(side, external_id)
        link = of_record.get((side, external_id))
        if record is None or record.deleted:
            continue
        if link is None:
            mine = fitting[external_id]
            decision = plan_unlinked(session.compiled, side, record, mine.candidates, mine.rivals)
            if isinstance(decision, MakeTwin):
                result["create"][decision.side] += 1
            elif isinstance(decision, Bind) and side == "left":  # its twin finds it as well
                result["link"] += 1
            elif isinstance(decision, Wonder):
                result["review"] += 1
            continue
        left, right = reading.get("left", link.left_id), reading.get("right", link.right_id)
        if left is None or right is None or link.state != Link.State.ACTIVE:
            continue
        if link.pk in seen:
            continue  # both of its records changed
        seen.add(link.pk)
        plan = plan_link(session.compiled, link_view(link, batch), left, right, instruction_views(batch, link))
        for operation in plan.operations:
            result["update"][operation.side] += 1
            if len(result["samples"]) < 20:  # enough to recognise a mistake
                result["samples"].append(
                    {
                        "record": str(link),
                        "side": operation.side,
                        "fields": {f.path: {"from": f.before, "to": f.value} for f in operation.fields},
                    }
                )
        result["agree"] += len(plan.agreed)
        result["review"] += sum(1 for outcome in plan.outcomes.values() if isinstance(outcome, Ask))
