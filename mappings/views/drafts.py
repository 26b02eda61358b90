"""What all pages of one mapping share: finding it, its facts, and saving its draft without losing anybody's work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from connections import access, hooks
from mappings.changes import Change, changed_rules, diff_versions
from mappings.config import stored_mapping
from mappings.models import Mapping, Side
from mappings.problems import Problem, SideFacts
from mappings.publish import document_of, lock_draft, other_pairs
from mappings.remote import facts_or_snapshot
from mappings.validation import check

MOVED = (
    "Somebody else saved this draft while you had it open. · Nothing was done, and nothing of theirs is lost. · "
    "Look at the draft as it is now, then do it again."
)


def find(request: HttpRequest, slug: str, action: str) -> Mapping:
    """The mapping at this address, if the viewer may see it and do `action` on it."""
    visible = Mapping.objects.visible_to(request.user).select_related(
        "left_connection", "right_connection", "published"
    )
    mapping = get_object_or_404(visible, slug=slug)
    access.check(request.user, action, mapping)
    return mapping


@dataclass(frozen=True, slots=True)
class DraftState:
    """A draft, what is known of its two sides, what is wrong with it and how it differs from what runs."""

    mapping: Mapping
    left: SideFacts
    right: SideFacts
    troubles: list[str]  # systems that did not answer, each in three parts
    document: dict[str, Any]
    problems: list[Problem]
    changes: list[Change]

    def facts(self, side: str) -> SideFacts:
        return self.left if side == Side.LEFT else self.right

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.level == "error"]

    @property
    def warnings(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.level != "error"]

    def problems_of(self, rule_id: str) -> list[Problem]:
        return [problem for problem in self.problems if problem.rule_id == rule_id]

    @property
    def difference(self) -> str:
        """ "Version 7 keeps running; your draft differs in 3 rules." """
        published = self.mapping.published
        if published is None:
            return "Nothing is published yet; nothing is synced."
        keeps = "keeps running" if self.mapping.state == Mapping.State.ACTIVE else "is paused"
        if not self.changes:
            return f"Version {published.number} {'runs' if keeps == 'keeps running' else keeps}; the draft is the same."
        rules = len(changed_rules(self.changes))
        settings = sum(1 for change in self.changes if not change.rule_id)
        parts = [_count(rules, "rule"), _count(settings, "setting")]
        return f"Version {published.number} {keeps}; the draft differs in {' and '.join(p for p in parts if p)}."


def _count(number: int, word: str) -> str:
    return "" if not number else f"{number} {word}{'' if number == 1 else 's'}"


def state_of(mapping: Mapping) -> DraftState:
    """Everything the pages say about a draft. Asks the systems for their fields, at most every ten minutes."""
    left, left_trouble = facts_or_snapshot(mapping, Side.LEFT)
    right, right_trouble = facts_or_snapshot(mapping, Side.RIGHT)
    document = document_of(mapping, left.fields, right.fields)
    published = mapping.published.document if mapping.published is not None else None
    return DraftState(
        mapping=mapping,
        left=left,
        right=right,
        troubles=[trouble for trouble in (left_trouble, right_trouble) if trouble],
        document=document,
        problems=check(document, left, right, other_pairs(mapping), published),
        changes=diff_versions(published, document) if published is not None else [],
    )


@contextmanager
def editing(request: HttpRequest, mapping: Mapping, revision: int) -> Iterator[Mapping]:
    """One save of a draft: in a transaction, only if its revision is still `revision`, with its audit entry.

    Raises DraftMoved before anything is written.
    """
    with transaction.atomic():
        mapping.revision = revision
        locked = lock_draft(mapping)
        before = stored_mapping(locked)
        yield locked
        after = stored_mapping(Mapping.objects.get(pk=locked.pk))
        if before != after:
            hooks.audit("config", "draft_saved", user=request.user, mapping=locked, before=before, after=after)


def posted_revision(request: HttpRequest) -> int:
    """The revision the page was made from; -1, which no draft has, where the field is missing or garbled."""
    given = request.POST.get("revision", "")
    return int(given) if given.isdecimal() and len(given) < 10 else -1


def say_moved(request: HttpRequest) -> None:
    messages.warning(request, MOVED)
