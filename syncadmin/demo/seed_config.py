"""The demo's configuration, made as an admin would make it: users, connections, policies, value maps, one mapping."""

from __future__ import annotations

import os
import time
from typing import Any

from django.contrib.auth import get_user_model
from django.db import close_old_connections
from django.utils import timezone

from connections.connectors.base import Retry
from connections.credentials import Secrets
from connections.models import Connection, RoleAssignment
from connections.open import accept_account, open_connector, test_connection
from connections.views.health import webhook_url
from mappings.models import ConflictPolicy, FieldMapping, Mapping, ValueMap
from mappings.publish import publish
from sync.approval import NotWaiting, approve
from sync.models import MappingState
from syncadmin.demo import world
from syncadmin.demo.credentials import INTEGRATION_EMAIL
from syncadmin.demo.notes import MAPPING_SLUG, Notes
from syncadmin.demo.seed_jira import CUSTOM_FIELDS

JIRA, SALESFORCE = "Jira Cloud", "Salesforce"
APPROVAL_LOOK_SECONDS = 0.5
PATIENCE_SECONDS, LONGEST_WAIT_SECONDS = 90.0, 2.0
Kind = ConflictPolicy.Kind
Initial = Mapping.Initial

POLICIES: dict[str, dict[str, Any]] = {
    "Ask a person": {"kind": Kind.REVIEW, "description": "Nothing is written until somebody decides."},
    "Jira decides": {"kind": Kind.LEFT, "description": "Jira is the system of record for this field."},
    "Salesforce decides": {"kind": Kind.RIGHT, "description": "Salesforce is the system of record for this field."},
    "Newest edit": {"kind": Kind.NEWEST, "description": "The later edit wins; close calls go to a person."},
    "Merge sets": {"kind": Kind.MERGE_SETS, "description": "What was added stays added, what was removed stays away."},
}


def seed(kept: Notes) -> None:
    """Make what is missing and bring the addresses up to date. Repeats nothing that is there."""
    _users(kept)
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            _configure(kept)
            return
        except Retry as error:  # a stand-in that just started, or a wait that the last start was told to keep
            if time.monotonic() > end:
                raise
            time.sleep(min(error.after, LONGEST_WAIT_SECONDS))


def _configure(kept: Notes) -> None:
    jira = _connection(JIRA, "jira", kept.jira_url, *_jira_sign_in(kept))
    salesforce = _connection(SALESFORCE, "salesforce", kept.salesforce_url, *_salesforce_sign_in(kept))
    admin = get_user_model().objects.get(username=RoleAssignment.Role.ADMIN)
    mapping = Mapping.objects.filter(slug=MAPPING_SLUG).first() or _mapping(jira, salesforce)
    if mapping.published is None:
        publish(mapping, admin, "First version")
    _subscribe(jira, mapping)


def approve_first_run() -> None:
    """Wait for the first run to ask, then approve it. Returns at once where that happened before."""
    mapping = Mapping.objects.get(slug=MAPPING_SLUG)
    admin = get_user_model().objects.get(username=RoleAssignment.Role.ADMIN)
    while not MappingState.objects.filter(mapping=mapping, approved_at__isnull=False).exists():
        if MappingState.objects.filter(mapping=mapping, halt=MappingState.Halt.APPROVAL).exists():
            try:
                approve(mapping, admin)
            except NotWaiting:  # a person was quicker
                return
        close_old_connections()
        time.sleep(APPROVAL_LOOK_SECONDS)


def _users(kept: Notes) -> None:
    model = get_user_model()
    for entry in kept.users:
        user, created = model.objects.get_or_create(username=entry["username"], defaults={"is_staff": True})
        if created or kept.new:
            user.set_password(entry["password"])
            user.save()
        RoleAssignment.objects.get_or_create(user=user, role=entry["role"], everywhere=True)


def _jira_sign_in(kept: Notes) -> tuple[dict[str, str], dict[str, str]]:
    """(settings, secrets) of the connection's form."""
    token, secret = kept.credentials.jira_token(INTEGRATION_EMAIL), kept.credentials.webhook_secret()
    return {"email": INTEGRATION_EMAIL}, {"api_token": token, "webhook_secret": secret}


def _salesforce_sign_in(kept: Notes) -> tuple[dict[str, str], dict[str, str]]:
    client_id, client_secret = kept.credentials.salesforce_app(INTEGRATION_EMAIL)
    return {"sign_in": "client_credentials", "client_id": client_id}, {"client_secret": client_secret}


def _connection(name: str, kind: str, address: str, settings: dict[str, str], secrets: dict[str, str]) -> Connection:
    connection = Connection.objects.filter(name=name).first()
    if connection is not None and connection.address == address and connection.state == Connection.State.OK:
        return connection
    if connection is not None and connection.address != address:
        connection.tokens = Secrets()  # type: ignore[assignment]
    if connection is None:
        connection = Connection(name=name, kind=kind, settings=settings)
        connection.secrets = Secrets(secrets)  # type: ignore[assignment]  # the column's text is encrypted JSON
    connection.address = address
    connection.save()
    test_connection(connection)
    if connection.state == Connection.State.ACCOUNT_CHANGED:
        accept_account(connection, connection.check_result)  # the same stand-in behind another port
    return connection


def bells() -> bool:
    """Whether the demo's systems tell us of changes; `DEMO_BELLS=0` leaves only the polls, to see what they cost."""
    return os.environ.get("DEMO_BELLS", "1") != "0"


def _subscribe(jira: Connection, mapping: Mapping) -> None:
    """Have the Jira stand-in call our webhook; at every start, because our port may be another one."""
    connector = open_connector(jira)
    connector.unsubscribe()
    if not bells():
        return
    connector.subscribe([mapping.left_object_type], mapping.left_scope, webhook_url(jira))
    Connection.objects.filter(pk=jira.pk).update(webhook_set_up_at=timezone.now())


def _mapping(jira: Connection, salesforce: Connection) -> Mapping:
    mapping = Mapping.objects.create(
        name="Support escalations",
        slug=MAPPING_SLUG,
        description="Issues of the Jira project SUP and Salesforce cases.",
        left_connection=jira,
        left_object_type="issue",
        left_scope={"project": world.PROJECT_KEY},
        right_connection=salesforce,
        right_object_type="Case",
        match_keys=[
            [{"left": CUSTOM_FIELDS["reference"].id, "right": "Reference__c"}],
            [{"left": "summary", "right": "Subject"}],
        ],
        create_defaults_left={"issuetype": "Task"},
        create_defaults_right={"Origin": "Web"},
        initial=Initial.FILL_EMPTY,
    )
    policies = {
        name: ConflictPolicy.objects.get_or_create(name=name, defaults=values)[0] for name, values in POLICIES.items()
    }
    for position, (left, right, options) in enumerate(_rules()):
        policy, table = options.pop("policy", None), options.pop("table", None)
        FieldMapping.objects.create(
            mapping=mapping,
            position=position,
            left_field=left,
            right_field=right,
            policy=policies[policy] if policy else None,
            value_map=_value_map(*table) if table else None,
            **options,
        )
    return mapping


def _value_map(name: str, entries: list[tuple[str | None, str | None]], description: str) -> ValueMap:
    values = {"entries": [{"left": left, "right": right} for left, right in entries], "description": description}
    return ValueMap.objects.get_or_create(name=name, defaults=values)[0]


def _rules() -> list[tuple[str, str, dict[str, Any]]]:
    """(Jira field, Salesforce field, the rule's other settings), in the order people see them."""
    custom = {name: field.id for name, field in CUSTOM_FIELDS.items()}
    priority = ("Priority", list(world.PRIORITIES), "Low and Lowest are both P4; P4 becomes Low.")
    status = ("Status", list(world.STATUSES), "Working covers progress and review; Escalated comes back as progress.")
    severity = ("Severity", list(world.SEVERITIES), "")
    owner = ("Owner", [(None, f"queue:{world.QUEUE}")], "Cases nobody has taken lie in the queue.")
    return [
        ("summary", "Subject", {"policy": "Ask a person", "initial": Initial.NEWEST}),
        ("description", "Description", {"transform": "rich_text", "policy": "Ask a person", "initial": Initial.REVIEW}),
        (
            "priority",
            "Priority",
            {
                "transform": "value_map",
                "table": priority,
                "policy": "Salesforce decides",
                "initial": Initial.RIGHT,
            },
        ),
        (
            "status",
            "Status",
            {"transform": "value_map", "table": status, "policy": "Jira decides", "initial": Initial.LEFT},
        ),
        ("labels", "Labels__c", {"transform": "set", "policy": "Merge sets"}),
        ("assignee", "OwnerId", {"transform": "person", "table": owner, "policy": "Ask a person"}),
        ("duedate", "Due_Date__c", {"transform": "date_time", "policy": "Newest edit"}),
        (custom["effort"], "Effort__c", {"transform": "number", "policy": "Ask a person"}),
        (custom["area"], "Product_Area__c", {"policy": "Newest edit"}),
        (custom["severity"], "Severity_Area__c", {"transform": "value_map", "table": severity}),
        (custom["reference"], "Reference__c", {"policy": "Salesforce decides"}),
        ("key", "Jira_Key__c", {"direction": FieldMapping.Direction.TO_RIGHT, "one_way_target": "enforce"}),
        (custom["case"], "CaseNumber", {"direction": FieldMapping.Direction.TO_LEFT, "one_way_target": "enforce"}),
    ]
