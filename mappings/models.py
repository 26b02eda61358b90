"""What has to agree: mappings, their field rules, value maps, policies and published versions."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models

from connections.access import grants_of
from connections.models import Connection, Pausable, RoleAssignment


def new_rule_id() -> str:
    """Bases belong to a rule id for ever, so ids are never reused."""
    return uuid.uuid4().hex[:12]


class Side(models.TextChoices):
    LEFT = "left", "Left"
    RIGHT = "right", "Right"


class ConflictPolicy(models.Model):
    """A named, reusable way to settle a field changed on both sides."""

    class Kind(models.TextChoices):
        REVIEW = "review", "Ask a person"
        LEFT = "left", "Left decides"
        RIGHT = "right", "Right decides"
        NEWEST = "newest", "Newest"
        MERGE_SETS = "merge_sets", "Merge sets"
        MERGE_TEXT = "merge_text", "Merge text"

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=20, choices=Kind.choices, default=Kind.REVIEW)
    tolerance = models.FloatField(
        default=2.0, help_text="Newest: edits closer together than this many seconds go to a person."
    )
    description = models.TextField(blank=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "conflict policies"

    def __str__(self) -> str:
        return self.name


class ValueMap(models.Model):
    """Which value on the left means which value on the right."""

    name = models.CharField(max_length=100, unique=True)
    # [{"left": "High", "right": "P1"}, ...]; where several entries share a value, the first one listed is
    # what the way back writes. None stands for empty.
    entries = models.JSONField(default=list)
    description = models.TextField(blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class MappingQuerySet(models.QuerySet["Mapping"]):
    def visible_to(self, user: Any) -> MappingQuerySet:
        """The mappings on which `user` has any role."""
        held = [grant.mappings for grant in grants_of(user)]
        if None in held:
            return self
        return self.filter(pk__in=[pk for mappings in held for pk in mappings or ()])


class Mapping(Pausable):
    """Two object types kept in agreement. The fields here and its FieldMappings are the *draft*."""

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"  # never published
        ACTIVE = "active", "Active"
        PAUSED = "paused", "Paused"

    class OnDelete(models.TextChoices):
        REVIEW = "review", "Ask a person"
        IGNORE = "ignore", "Do nothing"
        UNLINK = "unlink", "Unlink"
        CLOSE = "close", "Close the twin"
        DELETE = "delete", "Delete the twin"

    class Initial(models.TextChoices):
        FILL_EMPTY = "fill_empty", "Fill empty fields, ask about the rest"
        LEFT = "left", "Left decides"
        RIGHT = "right", "Right decides"
        NEWEST = "newest", "Newest record decides"
        REVIEW = "review", "Ask a person"

    name = models.CharField(max_length=100, unique=True)
    slug = models.SlugField(max_length=100, unique=True, help_text="Name in commands and addresses.")
    description = models.TextField(blank=True)
    state = models.CharField(max_length=10, choices=State.choices, default=State.DRAFT)
    assignments = models.ManyToManyField(RoleAssignment, blank=True, related_name="mappings")

    left_connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="left_mappings")
    left_object_type = models.CharField(max_length=100)
    left_scope = models.JSONField(default=dict, blank=True)
    right_connection = models.ForeignKey(Connection, on_delete=models.PROTECT, related_name="right_mappings")
    right_object_type = models.CharField(max_length=100)
    right_scope = models.JSONField(default=dict, blank=True)

    # Ways to find the same thing, tried in order; each is a list of field pairs that must all be equal:
    # [[{"left": "customfield_10050", "right": "Reference__c"}], [{"left": "summary", "right": "Subject"}]]
    match_keys = models.JSONField(default=list, blank=True)
    create_on_left = models.BooleanField(default=True, verbose_name="create on the left what is new on the right")
    create_on_right = models.BooleanField(default=True, verbose_name="create on the right what is new on the left")
    # Values only for records we create: {"Origin": "Web"}
    create_defaults_left = models.JSONField(default=dict, blank=True)
    create_defaults_right = models.JSONField(default=dict, blank=True)
    on_delete_left = models.CharField(
        max_length=10, choices=OnDelete.choices, default=OnDelete.REVIEW, verbose_name="when the left record is deleted"
    )
    on_delete_right = models.CharField(
        max_length=10,
        choices=OnDelete.choices,
        default=OnDelete.REVIEW,
        verbose_name="when the right record is deleted",
    )
    # What "close the twin" writes: {"status": "Done"}
    close_values_left = models.JSONField(default=dict, blank=True)
    close_values_right = models.JSONField(default=dict, blank=True)
    initial = models.CharField(max_length=12, choices=Initial.choices, default=Initial.FILL_EMPTY)
    # Bounds of the time between two looks at the lists, bell or no bell; what lies between follows what happens.
    poll_seconds = models.PositiveIntegerField(default=15)
    poll_seconds_idle = models.PositiveIntegerField(default=60)
    schedule = models.JSONField(default=dict, blank=True)  # when it runs, see schedules.py; {}: live
    # Limits of our own: {"create" | "update" | "delete": [number, share of the links]}; the rest as by default
    brakes = models.JSONField(default=dict, blank=True)

    revision = models.PositiveIntegerField(default=0, editable=False)  # of the draft; guards concurrent edits
    published = models.ForeignKey(
        "MappingVersion", null=True, blank=True, on_delete=models.PROTECT, related_name="+", editable=False
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = MappingQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def connection(self, side: str) -> Connection:
        return self.left_connection if side == Side.LEFT else self.right_connection

    def object_type(self, side: str) -> str:
        return self.left_object_type if side == Side.LEFT else self.right_object_type


class FieldMapping(models.Model):
    """One field rule of a mapping's draft."""

    class Direction(models.TextChoices):
        BOTH = "both", "Both ways"
        TO_RIGHT = "to_right", "Left to right"
        TO_LEFT = "to_left", "Right to left"

    class OneWay(models.TextChoices):
        KEEP = "keep", "Leave it"
        ENFORCE = "enforce", "Write ours again"

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="rules")
    rule_id = models.CharField(max_length=12, default=new_rule_id, editable=False)
    position = models.PositiveIntegerField(default=0)
    left_field = models.CharField(max_length=200)
    right_field = models.CharField(max_length=200)
    direction = models.CharField(max_length=10, choices=Direction.choices, default=Direction.BOTH)
    transform = models.CharField(max_length=50, default="same")
    params = models.JSONField(default=dict, blank=True)
    value_map = models.ForeignKey(ValueMap, null=True, blank=True, on_delete=models.PROTECT)
    policy = models.ForeignKey(ConflictPolicy, null=True, blank=True, on_delete=models.PROTECT)
    one_way_target = models.CharField(
        max_length=10,
        choices=OneWay.choices,
        default=OneWay.KEEP,
        verbose_name="when somebody edits the target of a one-way rule",
    )
    initial = models.CharField(
        max_length=12, choices=Mapping.Initial.choices, blank=True, help_text="Empty: as the mapping says."
    )
    enabled = models.BooleanField(default=True)

    class Meta:
        ordering = ["position", "id"]
        constraints = [
            models.UniqueConstraint(fields=["mapping", "rule_id"], name="one_rule_per_id"),
            models.UniqueConstraint(
                fields=["mapping", "left_field", "right_field"],
                name="one_rule_per_field_pair",
                violation_error_message="These two fields already have a rule.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.left_field} ↔ {self.right_field}"


class MappingVersion(models.Model):
    """One published, immutable state of a mapping. `document` holds all a run needs (see mappings/compiled.py)."""

    mapping = models.ForeignKey(Mapping, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    document = models.JSONField()
    note = models.CharField(max_length=300, blank=True)
    published_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    published_at = models.DateTimeField(auto_now_add=True)
    rolled_back_to = models.PositiveIntegerField(null=True, blank=True)  # number of the version this one repeats

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["mapping", "number"], name="one_version_per_number")]

    def __str__(self) -> str:
        return f"{self.mapping} version {self.number}"
