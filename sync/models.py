"""Making it agree: what we know of each pair of records, what we did, and what waits.

The database is the ledger; queues only ring. "At most one" is a constraint here, never a check in code.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from connections.access import grants_of
from connections.models import Connection
from mappings.models import Mapping, MappingVersion, Side
from sync import causes
from sync.chain import values_digest


class OfMapping(models.QuerySet[Any]):
    """Rows that belong to a mapping; every list, search and count starts with `visible_to`."""

    def visible_to(self, user: Any) -> OfMapping:
        return self.filter(mapping__in=Mapping.objects.visible_to(user))


class Audited(models.QuerySet[Any]):
    """Audit entries, which know their mapping by a plain number only."""

    def visible_to(self, user: Any) -> Audited:
        """Entries of the mappings on which `user` has any role; those of no mapping need a role everywhere."""
        held = [grant.mappings for grant in grants_of(user)]
        if None in held:
            return self
        return self.filter(mapping_id__in=[pk for mappings in held for pk in mappings or ()])


class MappingState(models.Model):
    """The lease of a mapping and what its runs must know before they start."""

    class Halt(models.TextChoices):
        NONE = "", "Runs"
        APPROVAL = "approval", "Waits for approval"
        BRAKE = "brake", "Halted by a brake"
        CONNECTION = "connection", "A connection fails"
        RESTORED = "restored", "Compared after a restore"

    mapping = models.OneToOneField(Mapping, on_delete=models.CASCADE, related_name="run_state")
    fence = models.PositiveBigIntegerField(default=0)  # grows with every holder; commits are conditional on it
    lease_until = models.DateTimeField(null=True, blank=True)
    holder = models.CharField(max_length=100, blank=True)
    halt = models.CharField(max_length=20, choices=Halt.choices, blank=True)
    halt_reason = models.JSONField(default=dict, blank=True)  # {"code": ..., "params": {...}}
    halted_at = models.DateTimeField(null=True, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    approved_by = models.CharField(max_length=150, blank=True)
    surveyed_at = models.DateTimeField(null=True, blank=True)  # both sides were listed completely
    # the version of the last run: the next one looks at what was out of force until then
    version = models.ForeignKey(MappingVersion, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    # Halt "restored": everything was compared without a write, a person decides. Empty: still to be compared.
    compared_at = models.DateTimeField(null=True, blank=True)
    # The sooner of the two sides' next polls; empty: both sides, now.
    next_poll_at = models.DateTimeField(null=True, blank=True)
    left_poll_at = models.DateTimeField(null=True, blank=True)
    right_poll_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(null=True, blank=True)  # a run last saw an edit, see pace.py
    # Turns of a mapping that does not run live, see turns.py.
    turn_at = models.DateTimeField(null=True, blank=True)  # when the turn began that goes on; empty: none does
    next_turn_at = models.DateTimeField(null=True, blank=True)
    turn_rule = models.CharField(max_length=200, blank=True)  # the schedule that `next_turn_at` follows from
    last_poll_at = models.DateTimeField(null=True, blank=True)
    last_run_at = models.DateTimeField(null=True, blank=True)
    idle_polls = models.PositiveBigIntegerField(default=0)  # polls that found nothing and left no run
    idle_calls = models.PositiveBigIntegerField(default=0)  # what they cost
    # Version and field lists that the findings are about: where they are the same, nothing needs to be compared.
    schema_judged = models.CharField(max_length=200, blank=True)

    def __str__(self) -> str:
        return f"state of {self.mapping}"


class Epoch(models.Model):
    """Which database this is, how far it has counted, and where it lives: one row; see epoch.py."""

    only = models.BooleanField(default=True, unique=True, editable=False)
    database = models.UUIDField(default=uuid.uuid4)  # a copy has the same one
    number = models.PositiveBigIntegerField(default=0)
    moved_at = models.DateTimeField(default=timezone.now)
    place = models.JSONField(default=dict, blank=True)  # as epoch.here() tells; empty: never noted

    def __str__(self) -> str:
        return f"epoch {self.number} of {self.database}"


class SchemaLook(models.Model):
    """The fields of an object type as its system listed them last, shared by all mappings that have it."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+")
    object_type = models.CharField(max_length=100)
    scope_digest = models.CharField(max_length=64)  # what a system lists may hang on the mapping's scope
    due_at = models.DateTimeField(default=timezone.now)  # the next look; moved by a conditional UPDATE
    looked_at = models.DateTimeField(null=True, blank=True)  # last answer
    fields = models.JSONField(default=list, blank=True)  # connectors.base.Field as dicts
    digest = models.CharField(max_length=64, blank=True)  # of `fields`; "" before the first answer
    # Fields that no record of a read showed, or showed in another form, and what came of looking into it: {path:
    # "unshown", "hidden" where the records name it as such, "strange" for another form; "listed …" if it is listed, and
    # some record shows it}
    odd = models.JSONField(default=dict, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["connection", "object_type", "scope_digest"], name="one_look_per_place")
        ]

    def __str__(self) -> str:
        return f"fields of {self.object_type} at {self.connection}"


class SchemaFinding(models.Model):
    """What of a mapping stands still because a field is not what the version knows: one row a rule, or a question."""

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="schema_findings")
    subject = models.CharField(max_length=250)  # as the Conflict's: "rule:<id>", "create:<side>", "match:<side>", …
    findings = models.JSONField(default=list)  # sync.schema.Finding as dicts, never empty
    found_at = models.DateTimeField(default=timezone.now)

    objects = OfMapping.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["mapping", "subject"], name="one_schema_finding_per_subject")]

    def __str__(self) -> str:
        return f"{self.mapping}: {self.subject}"


class Cursor(models.Model):
    """Read position of one side of a mapping."""

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="cursors")
    side = models.CharField(max_length=5, choices=Side.choices)
    watermark = models.CharField(max_length=300, null=True, blank=True)
    deep_at = models.DateTimeField(null=True, blank=True)  # last poll that looked back far, see read.since
    swept_at = models.DateTimeField(null=True, blank=True)  # last look for what no list tells, see read.look_for_missed
    listed_at = models.DateTimeField(null=True, blank=True)  # last complete listing compared with the links
    read_at = models.DateTimeField(null=True, blank=True)  # when a poll last came to its end
    # Changes may have been missed since then: no deletion is believed before a complete listing (catch_up.py)
    behind_since = models.DateTimeField(null=True, blank=True)
    to_note = models.BooleanField(default=False)  # all is listed before anything is matched (noting.py)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["mapping", "side"], name="one_cursor_per_side")]

    def __str__(self) -> str:
        return f"{self.mapping} {self.side}: {self.watermark}"


class Ignoring(models.Model):
    """A person's word that some failures are known: they are listed apart until their value or cause changes."""

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="ignorings")
    fingerprint = models.CharField(max_length=16)
    reason = models.CharField(max_length=500)
    by_name = models.CharField(max_length=150)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"ignored by {self.by_name}: {self.reason}"


class ChangedRecord(models.Model):
    """A hint: this record may have changed. Consumed by a DELETE conditional on the counter."""

    class Lane(models.IntegerChoices):
        LIVE = 0, "Live"
        RETRY = 1, "Retry"
        BACKFILL = 2, "Backfill"
        VERIFY = 3, "Verify"

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="hints")
    side = models.CharField(max_length=5, choices=Side.choices)
    external_id = models.CharField(max_length=200)
    counter = models.PositiveBigIntegerField(default=1)
    lane = models.PositiveSmallIntegerField(choices=Lane.choices, default=Lane.LIVE)
    first_rung_at = models.DateTimeField(default=timezone.now)
    rung_at = models.DateTimeField(default=timezone.now)  # last ring
    not_before = models.DateTimeField(default=timezone.now)
    deleted = models.BooleanField(default=False)  # a change feed said it is gone; a read decides
    # What a verified delivery of our own account told, if it rang alone; see echo.py.
    proof = models.JSONField(null=True, blank=True)
    error = models.TextField(blank=True)  # why the last attempt failed, for people
    attempts = models.PositiveIntegerField(default=0)
    # A record that keeps failing: its cause (see causes.py, "" where it does not count), since when, and the pair it
    # stands for, so that a pair is listed once though both of its records failed.
    fingerprint = models.CharField(max_length=16, blank=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)  # the last failure
    failed_code = models.CharField(max_length=20, blank=True)  # see hints.Failed
    failed_version = models.CharField(max_length=200, blank=True)  # of the record at the last failure
    link = models.ForeignKey("Link", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    ignored = models.ForeignKey(Ignoring, null=True, blank=True, on_delete=models.SET_NULL, related_name="hints")

    objects = OfMapping.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["mapping", "side", "external_id"], name="one_hint_per_record"),
            models.UniqueConstraint(fields=["link"], condition=~Q(fingerprint=""), name="one_failing_hint_per_link"),
        ]
        indexes = [
            # hints.due: what is due, live first
            models.Index(fields=["mapping", "lane", "not_before"], name="hint_due"),
            # failures: groups and rows of those that count
            models.Index(fields=["mapping", "fingerprint"], condition=~Q(fingerprint=""), name="hint_failing"),
        ]

    def __str__(self) -> str:
        return f"{self.side} {self.external_id} ×{self.counter}"


class Identity(models.Model):
    """The thing itself: its correlation key, and the record that carries it in each system."""

    key = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name_plural = "identities"

    def __str__(self) -> str:
        return self.key


class IdentityRecord(models.Model):
    """One record of a thing: a record belongs to one thing, a thing has one record per connection and object type."""

    identity = models.ForeignKey(Identity, on_delete=models.CASCADE, related_name="records")
    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="+")
    object_type = models.CharField(max_length=100)
    external_id = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "object_type", "external_id"], name="one_identity_per_record"
            ),
            models.UniqueConstraint(
                fields=["identity", "connection", "object_type"], name="one_record_per_identity_and_type"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.object_type} {self.external_id}"


class Link(models.Model):
    """Two records known to be the same thing, with the last agreed value of every rule, per side."""

    class State(models.TextChoices):
        ACTIVE = "active", "Linked"
        CREATING = "creating", "Being created"
        HELD = "held", "Held"
        UNLINKED = "unlinked", "Unlinked"
        DELETED = "deleted", "Deleted"  # a tombstone: `deleted_left` and `deleted_right` say where

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="links")
    identity = models.ForeignKey(Identity, null=True, blank=True, on_delete=models.PROTECT, related_name="links")
    state = models.CharField(max_length=10, choices=State.choices, default=State.ACTIVE)
    left_id = models.CharField(max_length=200, null=True, blank=True)
    right_id = models.CharField(max_length=200, null=True, blank=True)
    left_key = models.CharField(max_length=200, blank=True)
    right_key = models.CharField(max_length=200, blank=True)
    title = models.CharField(max_length=500, blank=True)
    left_bases = models.JSONField(default=dict)  # {rule id: value in the left side's own form}
    right_bases = models.JSONField(default=dict)
    left_version = models.CharField(max_length=200, blank=True)  # of the newest read
    right_version = models.CharField(max_length=200, blank=True)
    left_updated_at = models.CharField(max_length=40, blank=True)  # the system's own stamp of that read
    right_updated_at = models.CharField(max_length=40, blank=True)
    left_read_at = models.DateTimeField(null=True, blank=True)  # our clock
    right_read_at = models.DateTimeField(null=True, blank=True)
    # (version, mapping version) of a read in which every readable mapped field equalled its base
    left_settled = models.CharField(max_length=230, blank=True)
    right_settled = models.CharField(max_length=230, blank=True)
    # refusals: {rule id: {"side", "value", "source", "code", "params"}}; the rule waits, see parking.py. "unsure": what
    # was parked before of a write of the same field that may have happened
    parked = models.JSONField(default=dict)
    # Of a twin that is still to be made: what a person sends instead of what the source says, while it says what they
    # saw: {rule id: {"value", "seen", "path": of the field it is for, "by"}}
    typed = models.JSONField(default=dict)
    # values agreed to differ: {rule id: true}
    agreed_differences = models.JSONField(default=dict)
    # {side: {rule id: {"value", "earliest", "latest"}}}: edits that are not agreed yet, and when they were made;
    # {…: {"unread_since"}}: fields that later reads of the record did not show. Seconds; see edit_times.py.
    pending_edits = models.JSONField(default=dict)
    deleted_left = models.BooleanField(default=False)
    deleted_right = models.BooleanField(default=False)
    # believed gone only because it was not found twice: it may be hidden, and is looked for again
    may_return = models.BooleanField(default=False)
    out_of_scope = models.CharField(max_length=5, blank=True)  # side that left the scope
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(default=timezone.now)  # last write either way

    objects = OfMapping.as_manager()

    class Meta:
        constraints = [
            # An unlinked pair keeps both ids and blocks matching and creating until re-linked.
            models.UniqueConstraint(
                fields=["mapping", "left_id"], condition=Q(left_id__isnull=False), name="one_link_per_left_record"
            ),
            models.UniqueConstraint(
                fields=["mapping", "right_id"], condition=Q(right_id__isnull=False), name="one_link_per_right_record"
            ),
        ]
        indexes = [
            models.Index(fields=["mapping", "-changed_at"], name="link_recent"),  # records list, newest first
            models.Index(fields=["left_key"], name="link_left_key"),  # search by key
            models.Index(fields=["right_key"], name="link_right_key"),
        ]

    def __str__(self) -> str:
        return f"{self.left_key or self.left_id or '?'} = {self.right_key or self.right_id or '?'}"

    def record_id(self, side: str) -> str | None:
        return self.left_id if side == Side.LEFT else self.right_id

    def bases(self, side: str) -> dict[str, Any]:
        return self.left_bases if side == Side.LEFT else self.right_bases


class MatchKey(models.Model):
    """A match key of a record that has no twin yet: how first runs and creates find the same thing."""

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="match_rows")
    side = models.CharField(max_length=5, choices=Side.choices)
    external_id = models.CharField(max_length=200)
    alternative = models.PositiveSmallIntegerField()  # index into the mapping's match_keys
    digest = models.CharField(max_length=64)
    label = models.CharField(max_length=200, blank=True)  # the record's key, for people

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["mapping", "side", "external_id", "alternative"], name="one_match_key_per_alternative"
            )
        ]
        indexes = [models.Index(fields=["mapping", "digest", "side"], name="match_by_digest")]

    def __str__(self) -> str:
        return f"{self.side} {self.label or self.external_id}"


class Run(models.Model):
    """One execution for one mapping, under one mapping version."""

    class Kind(models.TextChoices):
        FIRST = "first", "First run"
        LIVE = "live", "Live"
        POLL = "poll", "Poll"
        MANUAL = "manual", "By hand"
        RESTORED = "restored", "After a restore"
        DRY = "dry", "Dry run"

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        APPROVAL = "approval", "Waits for approval"
        HALTED = "halted", "Halted"
        FAILED = "failed", "Failed"
        LOST = "lost", "Taken over"  # its worker died; another run carried on

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="runs")
    version = models.ForeignKey(MappingVersion, on_delete=models.PROTECT, related_name="runs")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.RUNNING)
    phase = models.CharField(max_length=20, blank=True)  # read, match, plan, write
    started_by = models.CharField(max_length=150, blank=True)  # empty: the system
    started_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    total = models.PositiveIntegerField(null=True, blank=True)  # records to look at, once known
    done = models.PositiveIntegerField(default=0)  # records looked at
    waiting_until = models.DateTimeField(null=True, blank=True)  # quota
    waiting_for = models.CharField(max_length=100, blank=True)  # the connection's name
    calls = models.JSONField(default=dict)  # {"left": {"read": 3, "write": 1}, "right": {...}}
    counts = models.JSONField(default=dict)  # {"updated": 1, "created": 0, "converged": 2, "conflict": 0, ...}
    preview = models.JSONField(default=dict, blank=True)  # first and dry runs: what would happen
    error = models.JSONField(default=dict, blank=True)  # {"code", "params"}: rendered by sync/wording.py
    notice = models.JSONField(default=dict, blank=True)  # likewise: what was special about it, no trouble

    objects = OfMapping.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["mapping", "-id"], name="run_recent")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} run {self.pk} of {self.mapping}"


class Operation(models.Model):
    """One decided remote call and its fate: written before the call, settled after it."""

    class Kind(models.TextChoices):
        CREATE = "create", "Create"
        UPDATE = "update", "Update"
        DELETE = "delete", "Delete"

    class State(models.TextChoices):
        PLANNED = "planned", "Planned"
        SENDING = "sending", "Being sent"
        CONFIRMED = "confirmed", "Confirmed"
        REFUSED = "refused", "Refused"
        SUPERSEDED = "superseded", "Superseded"
        UNCERTAIN = "uncertain", "Not answered"
        DEAD = "dead", "Gave up"
        LATE = "late", "Arrived late"  # had been given up; the next run puts it into the log (see late.py)

    OPEN = ("planned", "sending", "uncertain")

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="operations")
    version = models.ForeignKey(MappingVersion, on_delete=models.PROTECT, related_name="+")
    run = models.ForeignKey(Run, null=True, on_delete=models.SET_NULL, related_name="operations")
    link = models.ForeignKey(Link, on_delete=models.CASCADE, related_name="operations")
    side = models.CharField(max_length=5, choices=Side.choices)  # the side written to
    kind = models.CharField(max_length=10, choices=Kind.choices)
    part = models.CharField(max_length=200, blank=True)  # path of a field that is a remote call of its own
    state = models.CharField(max_length=10, choices=State.choices, default=State.PLANNED)
    external_id = models.CharField(max_length=200, blank=True)
    correlation_key = models.CharField(max_length=64, blank=True)
    # {rule id: {"path", "value", "before", "source", "code", "params"}}: what is sent, what was there, and the
    # other side's value it was decided from
    fields = models.JSONField(default=dict)
    # {rule id: value}; of a create what the source said and could not be sent: the bases start from it; of a delete
    # what the record said
    unsent = models.JSONField(default=dict)
    extra = models.JSONField(default=dict)  # {path: value} sent beside the rules: create defaults
    expected_version = models.CharField(max_length=200, blank=True)
    instruction = models.ForeignKey(
        "Instruction", null=True, blank=True, on_delete=models.SET_NULL, related_name="operations"
    )
    cause = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    clears = models.BooleanField(default=False)  # empties a filled field: the brakes count it with the deletes
    hops = models.PositiveSmallIntegerField(default=0)  # own writes in a row that led here
    # One writer per remote record across mappings: set from claim to commit.
    claim = models.CharField(max_length=400, null=True, blank=True, unique=True)
    fence = models.PositiveBigIntegerField(default=0)
    attempts = models.PositiveIntegerField(default=0)
    decided_at = models.DateTimeField(default=timezone.now)
    not_before = models.DateTimeField(default=timezone.now)
    claimed_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    result = models.JSONField(default=dict, blank=True)  # {"code", "params", ...} for people
    # A write that keeps failing: since when, and why (see causes.py); empty once a later answer took its place
    failing_since = models.DateTimeField(null=True, blank=True)
    fingerprint = models.CharField(max_length=16, blank=True)
    ignored = models.ForeignKey(Ignoring, null=True, blank=True, on_delete=models.SET_NULL, related_name="operations")

    objects = OfMapping.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["link", "side", "part"],
                condition=Q(state__in=("planned", "sending", "uncertain")),
                name="one_open_operation_per_link_side_and_part",
            ),
            models.UniqueConstraint(
                fields=["link", "side", "part"],
                condition=Q(failing_since__isnull=False),
                name="one_failing_operation_per_link_side_and_part",
            ),
        ]
        indexes = [
            models.Index(fields=["mapping", "state", "not_before"], name="operation_due"),  # recover, schedule
            models.Index(fields=["mapping", "side", "kind", "decided_at"], name="operation_brakes"),  # brake counts
            models.Index(fields=["link", "-id"], name="operation_of_link"),  # record page
            models.Index(fields=["external_id", "finished_at"], name="operation_of_record"),  # state.load: own writes
            models.Index(
                fields=["mapping", "fingerprint"], condition=Q(failing_since__isnull=False), name="operation_failing"
            ),  # failures
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.side} {self.external_id or self.correlation_key} ({self.state})"

    def read_back(self) -> dict[str, Any]:
        """{path: value} of what was written, as the system said it afterwards where it said so."""
        return {sent["path"]: sent.get("read_back", sent["value"]) for sent in self.fields.values()}


class Instruction(models.Model):
    """What a person asked for on a link, with the values they saw. Consumed by `plan()` under the lease."""

    class Kind(models.TextChoices):
        RESOLVE = "resolve", "Resolve"
        UNDO = "undo", "Undo"
        RESTORE = "restore", "Restore"
        REPAIR = "repair", "Repair"
        RETRY = "retry", "Edit and retry"
        RELINK = "relink", "Link"
        UNLINK = "unlink", "Unlink"
        DELETE_TWIN = "delete_twin", "Delete the twin"
        RECREATE = "recreate", "Create it again"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        APPLYING = "applying", "Being applied"
        DONE = "done", "Done"
        STALE = "stale", "The field moved"
        REFUSED = "refused", "Refused"

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="instructions")
    link = models.ForeignKey(Link, null=True, on_delete=models.CASCADE, related_name="instructions")
    kind = models.CharField(max_length=12, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    # {rule id: {"take": "left|right|base|value|ignore|before|send", "value": …, "write_to": "left|right",
    #            "seen": {"left": …, "right": …, "overwritten": where it was asked about}, "force": bool}};
    # of a twin that is still to be made
    # {"": {"take": "send", "in": side, "rule": the field edited last, "values": as at Link.typed}}
    choices = models.JSONField(default=dict)
    params = models.JSONField(default=dict, blank=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    by_name = models.CharField(max_length=150)
    request_id = models.CharField(max_length=36, default=uuid.uuid4)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    outcome = models.JSONField(default=dict, blank=True)  # {rule id, "" for all: see outcomes.py, "why": code}

    objects = OfMapping.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["mapping", "state"], name="instruction_waiting")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} by {self.by_name}"


class Conflict(models.Model):
    """Something a person must settle."""

    class Kind(models.TextChoices):
        FIELD = "field", "Both sides changed"
        DELETE_UPDATE = "delete_update", "Deleted and edited"
        AMBIGUOUS_MATCH = "ambiguous_match", "Which one?"
        DUPLICATE = "duplicate", "Twice there"
        REFUSED = "refused", "Refused"
        UNMAPPED = "unmapped", "No value over there"
        SCHEMA = "schema", "The field changed"
        UNCERTAIN_CREATE = "uncertain_create", "Created or not?"
        CLOBBER = "clobber", "We overwrote an edit"
        OSCILLATION = "oscillation", "Flips back and forth"

    class State(models.TextChoices):
        OPEN = "open", "Open"
        RESOLVING = "resolving", "Being settled"
        CLOSED = "closed", "Settled"

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="conflicts")
    link = models.ForeignKey(Link, null=True, blank=True, on_delete=models.CASCADE, related_name="conflicts")
    rule_id = models.CharField(max_length=12, blank=True)  # empty: about the record
    # For conflicts without a link: "left:10042", so that there is one open row per record
    subject = models.CharField(max_length=250, blank=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.OPEN)
    field_label = models.CharField(max_length=200, blank=True)
    title = models.CharField(max_length=500, blank=True)
    # Each a JSON value; "has_base" tells "last agreed empty" from "never agreed". Of a record whose twin is gone
    # {rule id: value}: what it says
    left_base = models.JSONField(null=True, blank=True)
    right_base = models.JSONField(null=True, blank=True)
    has_base = models.BooleanField(default=False)
    left_value = models.JSONField(null=True, blank=True)
    right_value = models.JSONField(null=True, blank=True)
    left_by = models.CharField(max_length=200, blank=True)  # who, as the vendor names them
    right_by = models.CharField(max_length=200, blank=True)
    left_at = models.CharField(max_length=40, blank=True)
    right_at = models.CharField(max_length=40, blank=True)
    agreed_at = models.DateTimeField(null=True, blank=True)
    code = models.CharField(max_length=60)  # reason, a code of sync/wording.py
    params = models.JSONField(default=dict, blank=True)
    fingerprint = models.CharField(max_length=16, blank=True)  # of its cause, see causes.py; "" where nothing failed
    # Why what is parked is tried once more: a code of sync/parking.py, "" while it waits. The next plan takes it up.
    retry = models.CharField(max_length=20, blank=True)
    ignored = models.ForeignKey(Ignoring, null=True, blank=True, on_delete=models.SET_NULL, related_name="conflicts")
    version = models.ForeignKey(MappingVersion, null=True, on_delete=models.SET_NULL, related_name="+")
    instruction = models.ForeignKey(Instruction, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    opened_at = models.DateTimeField(default=timezone.now)
    moved_at = models.DateTimeField(default=timezone.now)  # the live values last changed
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.CharField(max_length=150, blank=True)  # empty: closed by itself
    closed_code = models.CharField(max_length=60, blank=True)

    objects = OfMapping.as_manager()

    class Meta:
        ordering = ["opened_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["link", "rule_id"],
                condition=Q(state__in=("open", "resolving"), link__isnull=False),
                name="one_open_conflict_per_link_and_rule",
            ),
            models.UniqueConstraint(
                fields=["mapping", "subject"],
                condition=Q(state__in=("open", "resolving"), link__isnull=True),
                name="one_open_conflict_per_subject",
            ),
        ]
        indexes = [
            models.Index(fields=["mapping", "state", "opened_at"], name="conflict_queue"),  # review queue, oldest first
            models.Index(
                fields=["mapping", "fingerprint"],
                condition=Q(state__in=("open", "resolving")) & ~Q(fingerprint=""),
                name="conflict_failing",
            ),  # failures
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.field_label or self.title}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.note_cause()
        if kwargs.get("update_fields") is not None:
            kwargs["update_fields"] = {*kwargs["update_fields"], "fingerprint"}
        super().save(*args, **kwargs)

    def note_cause(self) -> None:
        """The fingerprint follows what it is made of: call before a statement that saves many."""
        self.fingerprint = causes.of_conflict(self.mapping_id, self.kind, self.rule_id, self.code, self.params)


class Allowance(models.Model):
    """A person's release of a brake: so many of one kind, for one hour, for the next freshly read plan."""

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="allowances")
    side = models.CharField(max_length=5, choices=Side.choices)
    kind = models.CharField(max_length=10)  # create, update, delete (deletes and clears)
    number = models.PositiveIntegerField()
    reason = models.CharField(max_length=500)
    by_name = models.CharField(max_length=150)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    of_empty_side = models.BooleanField(default=False)  # a person said that the other side is empty indeed

    def __str__(self) -> str:
        return f"{self.number} × {self.kind} {self.side} until {self.expires_at:%H:%M}"


class Verification(models.Model):
    """One comparison of a mapping's pairs, sampled or complete. It only reads; see sync/verify.py."""

    class Kind(models.TextChoices):
        SAMPLE = "sample", "Sample"
        COMPLETE = "complete", "Complete"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"  # for a worker, for room in the rate budget, or for the end of a window
        RUNNING = "running", "Comparing"
        DONE = "done", "Done"
        STOPPED = "stopped", "Stopped"
        FAILED = "failed", "Failed"

    OPEN = ("waiting", "running")

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="verifications")
    version = models.ForeignKey(MappingVersion, on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.WAITING)
    size = models.PositiveIntegerField(default=0)  # pairs wanted in a sample
    seed = models.BigIntegerField(default=0)  # which pairs a sample has
    started_by = models.CharField(max_length=150, blank=True)  # empty: by the clock
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)
    stop_asked_by = models.CharField(max_length=150, blank=True)
    # One worker at a time; every commit of it is conditional on the fence.
    fence = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    rung_at = models.DateTimeField(null=True, blank=True)
    not_before = models.DateTimeField(default=timezone.now)
    moved_at = models.DateTimeField(default=timezone.now)  # the last pairs were counted, or it last stood still
    tries = models.PositiveIntegerField(default=0)  # in a row without getting on
    cursor = models.BigIntegerField(default=0)  # key of the last link counted
    last = models.BigIntegerField(default=0)  # key of the last link there was at the beginning
    total = models.PositiveIntegerField(default=0)  # pairs to look at
    done = models.PositiveIntegerField(default=0)  # pairs looked at
    counts = models.JSONField(default=dict)  # see verify.Tally
    calls = models.JSONField(default=dict)  # {"left": {"read": 3}, "right": {...}}
    seconds = models.FloatField(default=0.0)  # of work, without waiting
    reason = models.JSONField(default=dict, blank=True)  # why it waits or ended: {"code", "params"}

    objects = OfMapping.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["mapping"], condition=Q(state__in=("waiting", "running")), name="one_open_verification"
            )
        ]
        indexes = [
            models.Index(fields=["mapping", "-id"], name="verification_recent"),
            models.Index(fields=["state", "not_before"], name="verification_due"),  # schedule.due_verifications
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} verification {self.pk} of {self.mapping}"


class VerifiedDifference(models.Model):
    """One field, or one record that is not there, as a verification found it."""

    class Kind(models.TextChoices):
        DRIFT = "drift", "Drift"
        AGREED = "agreed", "May differ"
        MISSING = "missing", "Not there"

    verification = models.ForeignKey(Verification, on_delete=models.CASCADE, related_name="differences")
    link = models.ForeignKey(Link, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    rule_id = models.CharField(max_length=12, blank=True)
    field_label = models.CharField(max_length=200, blank=True)
    side = models.CharField(max_length=5, choices=Side.choices, blank=True)  # where the record is not there
    left_value = models.JSONField(null=True, blank=True)
    right_value = models.JSONField(null=True, blank=True)
    # What a person asked for on it: the side whose value was taken, and what became of it.
    take = models.CharField(max_length=5, choices=Side.choices, blank=True)
    instruction = models.ForeignKey(Instruction, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["verification", "rule_id", "kind"], name="difference_of_field")]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.field_label or self.side}"


class AuditEntry(models.Model):
    """Who did what, when, from what to what, why. Inserted by sync/audit.py only; the database refuses changes.

    `values` lie beside the entry and may be erased; the chain covers their salted digest. `number` and `seal` are
    given by the sequencer right after the commit.
    """

    class ActorKind(models.TextChoices):
        PERSON = "person", "Person"
        SYSTEM = "system", "SyncAdmin"
        REMOTE = "remote", "Person in a connected system"

    at = models.DateTimeField(default=timezone.now)
    actor_kind = models.CharField(max_length=10, choices=ActorKind.choices, default=ActorKind.SYSTEM)
    actor = models.CharField(max_length=200, blank=True)  # the name is kept when the user is gone
    action = models.CharField(max_length=40)  # write, create, delete, converge, conflict, resolve, publish, login, …
    code = models.CharField(max_length=60)  # reason, a code of sync/wording.py
    params = models.JSONField(default=dict, blank=True)
    # Plain numbers instead of foreign keys: an entry outlives what it speaks of.
    mapping_id = models.BigIntegerField(null=True, blank=True)
    mapping_name = models.CharField(max_length=100, blank=True)
    mapping_version = models.PositiveIntegerField(null=True, blank=True)
    run_id = models.BigIntegerField(null=True, blank=True)
    link_id = models.BigIntegerField(null=True, blank=True)
    operation_id = models.BigIntegerField(null=True, blank=True)
    connection_id = models.BigIntegerField(null=True, blank=True)
    request_id = models.CharField(max_length=36, blank=True)  # joins all entries of one action
    object_label = models.CharField(max_length=300, blank=True)  # SUP-4812 = 00103952
    field_label = models.CharField(max_length=200, blank=True)
    side = models.CharField(max_length=5, blank=True)
    values = models.JSONField(null=True, blank=True)  # {"before": …, "after": …}; None once erased
    salt = models.CharField(max_length=32)
    values_digest = models.CharField(max_length=64)
    number = models.PositiveBigIntegerField(null=True, blank=True, unique=True)
    seal = models.CharField(max_length=64, blank=True)

    objects = Audited.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "audit entries"
        indexes = [
            models.Index(fields=["mapping_id", "-id"], name="audit_of_mapping"),
            models.Index(fields=["link_id", "-id"], name="audit_of_link"),
            models.Index(fields=["actor", "-id"], name="audit_of_actor"),
            models.Index(fields=["action", "-id"], name="audit_of_action"),
            models.Index(fields=["request_id"], name="audit_of_request"),
            models.Index(fields=["at"], name="audit_of_time"),  # where a time begins, as a key to page from
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.object_label} at {self.at:%Y-%m-%d %H:%M:%S}"

    @property
    def erased(self) -> bool:
        """Whether it once held values: its digest is not that of no values."""
        return self.values is None and self.values_digest != values_digest(self.salt, None)
