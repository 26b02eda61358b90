"""Who we talk to: connections, the webhook deliveries they send us, and who may do what."""

from __future__ import annotations

import secrets as random_secrets

from django.conf import settings
from django.db import models

from connections.credentials import EncryptedJSONField


def new_webhook_token() -> str:
    """Unguessable path part of a connection's webhook address (256 bits)."""
    return random_secrets.token_urlsafe(32)


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
        OK = "ok", "Fine"
        UNTESTED = "untested", "Not tested"
        PAUSED = "paused", "Paused"
        SIGN_IN = "sign_in", "Sign in again"
        UNREACHABLE = "unreachable", "Unreachable"
        ACCOUNT_CHANGED = "account_changed", "Account changed"

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=50, help_text="The system this connection talks to.")
    address = models.URLField(max_length=500, help_text="The address of the site, as people open it.")
    settings = models.JSONField(default=dict, blank=True)
    secrets = EncryptedJSONField(default=dict, blank=True, editable=False)
    tokens = EncryptedJSONField(default=dict, blank=True, editable=False)
    webhook_token = models.CharField(max_length=64, unique=True, default=new_webhook_token, editable=False)

    state = models.CharField(max_length=20, choices=State.choices, default=State.UNTESTED)
    state_reason = models.TextField(blank=True)  # a sentence for people
    state_since = models.DateTimeField(null=True, blank=True)
    account_id = models.CharField(max_length=200, blank=True)  # as found by the last test
    account_name = models.CharField(max_length=200, blank=True)
    tenant = models.CharField(max_length=200, blank=True)  # pinned: another site behind the address halts
    check_result = models.JSONField(default=dict, blank=True)
    checked_at = models.DateTimeField(null=True, blank=True)
    clock_offset = models.FloatField(null=True, blank=True)  # seconds their clock is ahead of ours
    retry_after = models.DateTimeField(null=True, blank=True)  # no call before this moment
    facts = models.JSONField(default=dict, blank=True)  # what the connector keeps; no secrets
    bell_seen_at = models.DateTimeField(null=True, blank=True)  # last sign of life of the live feed
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


class Delivery(models.Model):
    """One received webhook request, verified or refused."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="deliveries")
    received_at = models.DateTimeField(auto_now_add=True, db_index=True)
    delivery_id = models.CharField(max_length=200, null=True, blank=True)
    event = models.CharField(max_length=100, blank=True)
    verified = models.BooleanField(default=False)
    reason = models.CharField(max_length=300, blank=True)  # why it is not verified
    size = models.PositiveIntegerField(default=0)
    hints = models.JSONField(default=list)  # [{"object_type", "external_id", "deleted"}]

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        constraints = [
            # A sender's retry of the same delivery is stored once. Unverified ones may claim any id.
            models.UniqueConstraint(
                fields=["connection", "delivery_id"],
                condition=models.Q(verified=True, delivery_id__isnull=False),
                name="one_row_per_verified_delivery",
            )
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
