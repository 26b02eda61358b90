"""Who we talk to: connections, the webhook deliveries they send us, and who may do what."""

from __future__ import annotations

import secrets as random_secrets
from datetime import datetime

from django.conf import settings
from django.db import models
from django.utils import timezone

from connections.credentials import EncryptedJSONField


def new_webhook_token() -> str:
    """Unguessable path part of a connection's webhook address (256 bits)."""
    return random_secrets.token_urlsafe(32)


def new_key_space() -> str:
    return random_secrets.token_urlsafe(32)


# Settings that say nothing of who answers and as whom we come: who may send to us, and a description not in use yet.
APART_FROM_SIGN_IN = ("webhook_senders", "draft")


class Pausable(models.Model):
    """What stands still when a person or the clock says so; see pauses.py. `state` "paused" is a person's pause."""

    pause_reason = models.CharField(max_length=500, blank=True)
    paused_by = models.CharField(max_length=150, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_until = models.DateTimeField(null=True, blank=True)  # empty: until a person resumes it
    windows = models.JSONField(default=list, blank=True)  # maintenance by the clock, see windows.py

    state: models.CharField[str, str]

    class Meta:
        abstract = True


class Connection(Pausable):
    """One configured account at one system."""

    class State(models.TextChoices):
        OK = "ok", "Working"
        UNTESTED = "untested", "Not tested"
        PAUSED = "paused", "Paused"
        SIGN_IN = "sign_in", "Sign in again"
        UNREACHABLE = "unreachable", "No answer"
        ACCOUNT_CHANGED = "account_changed", "Account changed"

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=50, help_text="The system this connection talks to.")
    address = models.URLField(max_length=500, help_text="The address of the site, as people open it.")
    settings = models.JSONField(default=dict, blank=True)
    secrets = EncryptedJSONField(default=dict, blank=True, editable=False)
    tokens = EncryptedJSONField(default=dict, blank=True, editable=False)
    webhook_token = models.CharField(max_length=64, unique=True, default=new_webhook_token, editable=False)
    webhook_made_at = models.DateTimeField(default=timezone.now)  # since when that is the address
    webhook_set_up_at = models.DateTimeField(null=True, blank=True)  # our account registered it at the system
    # What the keys of this connection's things are derived from (sync/identities.py): never changes.
    key_space = models.CharField(max_length=64, default=new_key_space, editable=False)

    state = models.CharField(max_length=20, choices=State.choices, default=State.UNTESTED)
    state_reason = models.TextField(blank=True)  # a sentence for people
    state_since = models.DateTimeField(null=True, blank=True)
    account_id = models.CharField(max_length=200, blank=True)  # as found by the last test
    account_name = models.CharField(max_length=200, blank=True)
    tenant = models.CharField(max_length=200, blank=True)  # pinned: another site behind the address halts
    check_result = models.JSONField(default=dict, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    test_due = models.BooleanField(default=False)  # set up anew since the last test that was answered
    clock_offset = models.FloatField(null=True, blank=True)  # seconds their clock is ahead of ours
    retry_after = models.DateTimeField(null=True, blank=True)  # no call before this moment
    facts = models.JSONField(default=dict, blank=True)  # what the connector keeps; no secrets
    bell_seen_at = models.DateTimeField(null=True, blank=True)  # last sign of life of the live feed
    bell_first_at = models.DateTimeField(null=True, blank=True)  # first one at the present webhook address
    bell_missed_at = models.DateTimeField(null=True, blank=True)  # a poll last found an edit that no bell had told of

    # The circuit breaker, see breaker.py. Only it writes these.
    failures = models.PositiveIntegerField(default=0)  # calls in a row that the system did not answer
    down_since = models.DateTimeField(null=True, blank=True)  # open: no run calls before a probe was answered
    probe_at = models.DateTimeField(null=True, blank=True)  # the next probe
    probing_until = models.DateTimeField(
        null=True, blank=True
    )  # somebody probes; a worker that died holds it no longer
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def usable(self) -> bool:
        """Whether runs may call this connection at all."""
        return self.state in (self.State.OK, self.State.UNTESTED, self.State.UNREACHABLE)

    @property
    def signs_in_with(self) -> tuple[object, ...]:
        """What decides who answers and as whom we come; tokens got with other ones are none of this connection."""
        settings = {name: value for name, value in (self.settings or {}).items() if name not in APART_FROM_SIGN_IN}
        return (self.kind, self.address, settings, self.secrets or {})

    @property
    def to_be_tested(self) -> bool:
        """Whether runs wait for a test: it is known who should answer, and not whether who answers now is the same."""
        known = bool(self.tenant or self.account_id)
        return known and self.usable and (self.test_due or self.state == self.State.UNTESTED)

    def waits_until(self, now: datetime) -> datetime | None:
        """Until when no run may call it, as its system asked for or because it does not answer; None: it may."""
        moments = [self.retry_after, self.probe_at if self.down_since else None]
        return max((one for one in moments if one and one > now), default=None)


class Delivery(models.Model):
    """One received webhook request and what became of it. Stored by webhooks.py, rung for by take_in.py."""

    class Outcome(models.TextChoices):
        WAITING = "waiting", "Just arrived"
        ACCEPTED = "accepted", "Accepted"
        HINT = "hint", "Taken as a hint"  # nothing proves its sender: its records are looked at, no more
        DUPLICATE = "duplicate", "Came again"
        NO_RECORD = "no_record", "Names no record"
        OTHER_TYPE = "other_type", "Not synced here"  # of an object type that no mapping has
        NO_MAPPING = "no_mapping", "No mapping"
        REFUSED = "refused", "Refused"
        UNREADABLE = "unreadable", "Not readable"
        TOO_LARGE = "too_large", "Too large"
        FAILED = "failed", "Not taken in"

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    # Names this arrival, so that moving it from the inbox twice stores it once.
    arrival = models.CharField(max_length=32, unique=True, null=True, editable=False)
    received_at = models.DateTimeField(default=timezone.now, db_index=True)
    delivery_id = models.CharField(max_length=200, null=True, blank=True)
    # Of id and body, where the sender is proved: the id alone lies in a header, which no signature covers, and could
    # be put on something else before the genuine delivery arrives.
    fingerprint = models.CharField(max_length=64, null=True, blank=True)
    event = models.CharField(max_length=100, blank=True)
    verified = models.BooleanField(default=False)
    outcome = models.CharField(max_length=12, choices=Outcome.choices, default=Outcome.WAITING)
    reason = models.CharField(max_length=300, blank=True)  # a sentence: why it was not accepted
    sender = models.CharField(max_length=45, blank=True)  # address it came from
    unlisted = models.PositiveIntegerField(default=0)  # further ones like it before it, counted only
    size = models.PositiveIntegerField(default=0)
    hints = models.JSONField(default=list)  # [{"object_type", "external_id", "deleted"}]
    told = models.JSONField(null=True, blank=True)  # what may prove an echo, by hint; only while it waits

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [
            # A sender's retry of the same delivery rings once. Unverified ones may claim any id.
            models.UniqueConstraint(
                fields=["connection", "fingerprint"],
                condition=models.Q(fingerprint__isnull=False),
                name="one_row_per_verified_delivery",
            )
        ]
        indexes = [
            models.Index(fields=["connection", "outcome", "-id"], name="delivery_outcome"),  # the log by outcome
            models.Index(fields=["connection", "-id"], name="delivery_log"),
            # take_in: what nobody rang for yet
            models.Index(fields=["id"], condition=models.Q(outcome="waiting"), name="delivery_waiting"),
        ]

    def __str__(self) -> str:
        return f"{self.event or 'delivery'} at {self.received_at:%Y-%m-%d %H:%M:%S}"


class RoleAssignment(models.Model):
    """One role of one person, for all mappings or for those that list it (`Mapping.assignments`)."""

    class Role(models.TextChoices):
        ADMIN = "admin", "Admin"
        OPERATOR = "operator", "Operator"
        REVIEWER = "reviewer", "Reviewer"
        AUDITOR = "auditor", "Auditor"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="role_assignments")
    role = models.CharField(max_length=20, choices=Role.choices)
    everywhere = models.BooleanField(default=True, verbose_name="all mappings")

    class Meta:
        ordering = ["user", "role"]
        constraints = [
            models.UniqueConstraint(
                fields=["user", "role"],
                condition=models.Q(everywhere=True),
                name="one_assignment_per_role_everywhere",
            )
        ]

    def __str__(self) -> str:
        return f"{self.user}: {self.get_role_display()}{'' if self.everywhere else ' of chosen mappings'}"
