"""What a group of answers leaves to do besides itself: records to look at again, echoes to drop, questions to close.

Collected answer by answer and done at the end, so that it takes a fixed number of statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from sync import hints
from sync.models import ChangedRecord, Conflict, Link, Operation
from sync.questions import save_questions
from sync.rows import change, fetch
from sync.session import SIDES, Session

# Earlier operations looked through for tries of the same write, a link.
EARLIER = 20
# How operations end that were no try of their write.
UNTRIED = ("planned_again", "sign_in")
# A write that has not been tried for so long begins anew.
REMEMBERED = timedelta(days=1)


@dataclass
class Aftermath:
    session: Session
    questions: dict[int, list[Conflict]] = field(default_factory=dict)  # link -> open ones
    _asked: list[Conflict] = field(default_factory=list)
    _told: dict[tuple[str, str], ChangedRecord] = field(default_factory=dict)  # hints that may be proved echoes
    _echoes: list[ChangedRecord] = field(default_factory=list)
    _ended: list[Link] = field(default_factory=list)
    _again: dict[float, list[Link]] = field(default_factory=dict)
    _later: dict[float, list[Link]] = field(default_factory=dict)
    _failed: dict[tuple[str, float, int], list[Link]] = field(default_factory=dict)
    _gone: dict[tuple[str, bool], list[str]] = field(default_factory=dict)
    _tries: dict[tuple[int, str, str], list[str]] | None = None
    _standing: dict[tuple[int, str, str], Operation] | None = None
    _operations: Sequence[Operation] = ()

    @classmethod
    def of(cls, session: Session, operations: Sequence[Operation], written: Iterable[str]) -> Aftermath:
        """What is known before the answers are looked at. `written`: ids of the records that were read back."""
        found = cls(session, _operations=operations)
        links = {operation.link_id for operation in operations}
        for conflict in fetch(Conflict, "link_id IN %s AND state IN ('open', 'resolving') ORDER BY id", links):
            found.questions.setdefault(conflict.link_id or 0, []).append(conflict)
        alone = "mapping_id = %s AND external_id IN %s AND counter = 1 AND proof IS NOT NULL"
        rung = fetch(ChangedRecord, alone, session.mapping.pk, list(written))
        found._told = {(hint.side, hint.external_id): hint for hint in rung}
        return found

    # Collected. --------------------------------------------------------------------------------------------------

    def question(self, link_id: int, rule_id: str) -> Conflict | None:
        """The open question about this rule of the link."""
        mine = self.questions.get(link_id, ())
        return next((one for one in mine if one.rule_id == rule_id and one.state != Conflict.State.CLOSED), None)

    def open_questions(self, link: Link) -> bool:
        return any(one.state != Conflict.State.CLOSED for one in self.questions.get(link.pk, ()))

    def ask(self, conflict: Conflict) -> None:
        """Save the question, new or changed, with all the others."""
        if conflict not in self._asked:
            self._asked.append(conflict)
        if not conflict.pk:
            self.questions.setdefault(conflict.link_id or 0, []).append(conflict)

    def rang_alone(self, side: str, external_id: str) -> ChangedRecord | None:
        """The hint of a record, where one verified delivery alone rang it."""
        return self._told.get((side, external_id))

    def drop(self, echo: ChangedRecord) -> None:
        self._echoes.append(echo)

    def end(self, link: Link) -> None:
        """Hints that waited for the link's operation are due now."""
        self._ended.append(link)

    def again(self, link: Link, seconds: float = 0) -> None:
        """Plan the link again. Both records are named: which of them holds the edit is not known here."""
        self._again.setdefault(seconds, []).append(link)

    def later(self, link: Link, seconds: float) -> None:
        """Plan the link again, not before `seconds` have passed."""
        self._later.setdefault(seconds, []).append(link)

    def fail(self, link: Link, message: str, seconds: float, tries: int) -> None:
        """Plan the link again, ever later."""
        self._failed.setdefault((message, seconds, tries), []).append(link)

    def gone(self, side: str, external_id: str, certain: bool) -> None:
        self._gone.setdefault((side, certain), []).append(external_id)

    def earlier_tries(self, operation: Operation, *codes: str) -> int:
        """How many operations in a row before this one ended with one of `codes`: the hint of a failed write is a new
        one each time, the ledger remembers."""
        if self._tries is None:
            self._tries = self._read_tries()
        number = 0
        for code in self._tries.get((operation.link_id, operation.side, operation.part), ()):
            if code in codes:
                number += 1
            elif code not in UNTRIED:
                break
        return number

    def _read_tries(self) -> dict[tuple[int, str, str], list[str]]:
        links = {operation.link_id for operation in self._operations}
        rows = (
            Operation.objects.filter(link__in=links, decided_at__gt=timezone.now() - REMEMBERED)
            .exclude(pk__in=[operation.pk for operation in self._operations])
            .order_by("-pk")
            .values_list("link_id", "side", "part", "result")[: EARLIER * len(links)]
        )
        found: dict[tuple[int, str, str], list[str]] = {}
        for link_id, side, part, result in rows:
            found.setdefault((link_id, side, part), []).append(result.get("code", ""))
        return found

    def failing(self, operation: Operation) -> Operation | None:
        """The failure of the same write that stands so far."""
        if self._standing is None:
            links = {one.link_id for one in self._operations}
            rows = fetch(Operation, "link_id IN %s AND failing_since IS NOT NULL", links)
            self._standing = {(one.link_id, one.side, one.part): one for one in rows}
        return self._standing.get((operation.link_id, operation.side, operation.part))

    def give_way(self) -> None:
        """A failed write is listed until its next answer: call before the answers are saved."""
        ended = (Operation.State.CONFIRMED, Operation.State.REFUSED, Operation.State.DEAD)
        answered = [one for one in self._operations if one.failing_since or one.state in ended]
        over = [standing.pk for one in answered if (standing := self.failing(one)) is not None]
        if over:
            Operation.objects.filter(pk__in=over).update(failing_since=None, ignored=None)

    # Done. -------------------------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        save_questions(self._asked)
        hints.consume(self._echoes)
        release(self.session, self._ended)
        now = timezone.now()
        for seconds, links in self._again.items():
            ring(self.session, links, hints.Lane.LIVE, seconds)
        for seconds, links in self._later.items():
            ring(self.session, links, hints.Lane.RETRY)
            of_links(self.session, links).update(not_before=now + timedelta(seconds=seconds))
        for (message, seconds, tries), links in self._failed.items():
            ring(self.session, links, hints.Lane.RETRY)
            wait = max(hints.backoff(tries - 1), seconds)
            of_links(self.session, links).update(
                attempts=tries,
                error=message[:2000],
                lane=hints.Lane.RETRY,
                not_before=now + timedelta(seconds=wait),
                **hints.NOT_LISTED,  # the write itself is listed
            )
        for (side, certain), ids in self._gone.items():
            hints.mark(self.session.mapping.pk, side, ids, hints.Lane.RETRY, deleted=certain)


def of_links(session: Session, links: Iterable[Link]) -> QuerySet[ChangedRecord]:
    """The hints of these links' records."""
    these = Q(pk__in=())
    for side in SIDES:
        these |= Q(side=side, external_id__in=[id_ for link in links if (id_ := link.record_id(side))])
    return ChangedRecord.objects.filter(these, mapping=session.mapping)


def release(session: Session, links: Sequence[Link]) -> None:
    """Hints that waited for these links' operations are due now."""
    ids = [[external_id for link in links if (external_id := link.record_id(side))] for side in SIDES]
    if links:
        change(RELEASE, timezone.now(), session.mapping.pk, *ids)


RELEASE = """UPDATE sync_changedrecord SET not_before = %s WHERE mapping_id = %s AND attempts = 0
    AND (side = 'left' AND external_id IN %s OR side = 'right' AND external_id IN %s)"""


def ring(session: Session, links: Sequence[Link], lane: int, seconds: float = 0) -> None:
    """Mark both records of these links."""
    when = timezone.now() + timedelta(seconds=seconds)
    for side in SIDES:
        ids = [external_id for link in links if (external_id := link.record_id(side))]
        hints.mark(session.mapping.pk, side, ids, lane, not_before=when)
