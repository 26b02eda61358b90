from __future__ import annotations

import copy
import io
import json

import pytest
import yaml
from django.core.management import call_command, load_command_class

from connections.models import Connection
from mappings.config import apply, export, plan, secret_variable, stored
from mappings.config_file import SIZE_LIMIT, ConfigError, dump, load
from mappings.models import ConflictPolicy, FieldMapping, Mapping, MappingVersion, ValueMap
from mappings.publish import draft_settings
from sync.models import AuditEntry, Run

pytestmark = pytest.mark.django_db
ENVIRON = {"JIRA_API_TOKEN": "jira-secret-1", "SALESFORCE_CLIENT_SECRET": "sf-secret-1"}


@pytest.fixture
def mapping():
    jira = Connection.objects.create(
        name="Jira",
        kind="jira",
        address="https://example.atlassian.net",
        settings={"email": "sync@example.com"},
        secrets={"api_token": "jira-secret-1"},
    )
    salesforce = Connection.objects.create(
        name="Salesforce", kind="salesforce", address="https://example.my.salesforce.com"
    )
    policy = ConflictPolicy.objects.create(name="Newest wins", kind="newest", tolerance=3)
    value_map = ValueMap.objects.create(
        name="Priority", entries=[{"left": "No", "right": "P1"}, {"left": None, "right": "16:30"}]
    )
    mapping = Mapping.objects.create(
        name="Support – Fälle",
        slug="support",
        left_connection=jira,
        left_object_type="issue",
        left_scope={"project": "SUP"},
        right_connection=salesforce,
        right_object_type="Case",
        match_keys=[[{"left": "summary", "right": "Subject"}]],
        create_defaults_right={"Origin": "Web"},
        poll_seconds=30,
    )
    FieldMapping.objects.create(mapping=mapping, left_field="summary", right_field="Subject")
    FieldMapping.objects.create(
        mapping=mapping,
        position=1,
        left_field="priority",
        right_field="Priority",
        transform="value_map",
        value_map=value_map,
        policy=policy,
        direction="to_right",
    )
    return mapping


def edited(change):
    data = yaml.safe_load(export())
    change(data)
    return yaml.safe_dump(data, sort_keys=False)


def changes_of(changes):
    return {(c.action, c.section, c.name) for c in changes if c.action != "unchanged"}


def test_an_export_applied_to_itself_changes_nothing(mapping):
    assert changes_of(plan(export())) == set()
    assert changes_of(apply(export(), None, {})) == set()
    assert not AuditEntry.objects.exists()


def test_an_export_builds_the_same_configuration_from_nothing(mapping):
    text, before = export(), stored()
    Mapping.objects.all().delete()
    for model in (Connection, ConflictPolicy, ValueMap):
        model.objects.all().delete()
    made = apply(text, None, ENVIRON)
    assert {change.action for change in made} == {"create"}
    assert stored() == before
    assert Connection.objects.get(name="Jira").secrets["api_token"] == "jira-secret-1"


def test_no_secret_is_in_an_export_or_in_the_audit_log(mapping):
    text = edited(lambda data: data["connections"]["Jira"]["settings"].update(email="other@example.com"))
    assert "jira-secret" not in export()
    assert "JIRA_API_TOKEN" in export()
    apply(text, None, {"JIRA_API_TOKEN": "jira-secret-2"})
    assert Connection.objects.get(name="Jira").secrets["api_token"] == "jira-secret-2"
    told = json.dumps([[entry.values, entry.params] for entry in AuditEntry.objects.all()])
    assert "other@example.com" in told and "jira-secret" not in told


def test_a_changed_secret_shows_in_the_plan_without_its_value(mapping):
    found = [c for c in plan(export(), {"JIRA_API_TOKEN": "jira-secret-2"}) if c.action == "update"]
    assert [(d.field, d.before, d.after) for c in found for d in c.fields] == [("secrets.api_token", "set", "changed")]


def test_a_file_neither_ends_a_pause_nor_touches_what_workers_keep(mapping, monkeypatch):
    Connection.objects.filter(name="Jira").update(state="paused", state_reason="mira paused it.")
    full_clean = Connection.full_clean

    def meanwhile(self, **options):
        Connection.objects.filter(pk=self.pk).update(facts={"listener": {"holder": "here"}})
        full_clean(self, **options)

    monkeypatch.setattr(Connection, "full_clean", meanwhile)
    apply(edited(lambda data: data["connections"]["Jira"]["settings"].update(email="other@example.com")), None, {})
    jira = Connection.objects.get(name="Jira")
    assert (jira.settings, jira.state, jira.state_reason) == (
        {"email": "other@example.com"},
        "paused",
        "mira paused it.",
    )
    assert jira.facts == {"listener": {"holder": "here"}}


@pytest.mark.parametrize("model", [Connection, Mapping])
def test_a_file_does_not_end_a_pause_that_begins_while_it_is_applied(mapping, monkeypatch, model):
    full_clean = model.full_clean
    window = {"id": "w", "start": "2030-01-01T00:00:00+00:00", "end": "2030-01-02T00:00:00+00:00"}

    def meanwhile(self, **options):
        stopped = {"state": "paused", "pause_reason": "month-end closing", "paused_by": "mira", "windows": [window]}
        model.objects.filter(pk=self.pk).update(**stopped)
        full_clean(self, **options)

    def change(data):
        data["connections"]["Jira"]["settings"].update(email="other@example.com")
        data["mappings"]["support"]["poll_seconds"] = 60

    changed = edited(change)
    monkeypatch.setattr(model, "full_clean", meanwhile)
    apply(changed, None, ENVIRON)
    row = model.objects.get(pk=(mapping if model is Mapping else mapping.left_connection).pk)
    assert (row.state, row.pause_reason, row.paused_by) == ("paused", "month-end closing", "mira")
    assert row.windows == [window]
    mapping.refresh_from_db()
    assert (mapping.poll_seconds, Connection.objects.get(name="Jira").settings["email"]) == (60, "other@example.com")


def test_a_file_does_not_take_back_a_version_published_while_it_is_applied(mapping, monkeypatch):
    changed = edited(lambda data: data["mappings"]["support"].update(poll_seconds=60))
    full_clean = Mapping.full_clean

    def meanwhile(self, **options):
        version = MappingVersion.objects.create(mapping=mapping, number=1, document={})
        Mapping.objects.filter(pk=self.pk).update(published=version, state="active")
        full_clean(self, **options)

    monkeypatch.setattr(Mapping, "full_clean", meanwhile)
    apply(changed, None, ENVIRON)
    mapping.refresh_from_db()
    assert (mapping.state, mapping.published.number, mapping.poll_seconds) == ("active", 1, 60)


# Other records than those it was published with. ---------------------------------------------------------------------


def published(mapping):
    """The mapping as its first version has it."""
    version = mapping.versions.create(number=1, document=draft_settings(mapping))
    Mapping.objects.update(published=version, state="active")


def to_another_connection(data):
    data["connections"]["Other"] = copy.deepcopy(data["connections"]["Jira"])
    data["mappings"]["support"]["left"]["connection"] = "Other"


def to_another_object_type(data):
    data["mappings"]["support"]["right"]["object_type"] = "Account"


def to_another_system(data):
    data["connections"]["Salesforce"]["kind"] = "servicenow"


MOVES = [
    (to_another_connection, "mappings.support.left: The left side was published with “issue” of Jira, and now names "),
    (to_another_object_type, "mappings.support.right: The right side was published with “Case” of Salesforce, and "),
    (to_another_system, "connections.Salesforce.kind: was salesforce, and support was published with it."),
]


@pytest.mark.parametrize(("change", "problem"), MOVES)
def test_a_published_mapping_is_not_turned_to_other_records(mapping, change, problem):
    published(mapping)
    text, before = edited(change), stored()
    for attempt in (lambda: plan(text), lambda: apply(text, None, ENVIRON)):
        with pytest.raises(ConfigError) as caught:
            attempt()
        assert caught.value.problems[0].startswith(problem) and "a new mapping" in caught.value.problems[0]
    assert stored() == before and not AuditEntry.objects.exists()


@pytest.mark.parametrize("change", [change for change, _ in MOVES])
def test_a_mapping_that_was_never_published_may_be_turned_to_other_records(mapping, change):
    apply(edited(change), None, ENVIRON)
    assert changes_of(plan(edited(change))) == set()


def test_a_draft_that_was_turned_to_other_records_is_brought_back_by_a_file(mapping):
    published(mapping)
    text = export()
    Mapping.objects.update(left_object_type="epic")
    apply(text, None, ENVIRON)
    assert Mapping.objects.get().left_object_type == "issue"


def test_a_mapping_that_is_published_while_a_file_is_applied_is_not_turned_to_other_records(mapping, monkeypatch):
    text, full_clean = edited(to_another_object_type), Mapping.full_clean

    def meanwhile(self, **options):
        published(mapping)
        full_clean(self, **options)

    monkeypatch.setattr(Mapping, "full_clean", meanwhile)
    with pytest.raises(ConfigError, match=r"mappings\.support\.right: The right side was published with"):
        apply(text, None, ENVIRON)


def test_plan_names_each_field_that_changes(mapping):
    def change(data):
        data["mappings"]["support"]["poll_seconds"] = 60
        data["mappings"]["support"]["rules"][1]["direction"] = "both"

    found = [change for change in plan(edited(change)) if change.action == "update"]
    assert [(d.field, d.before, d.after) for d in found[0].fields] == [
        ("poll_seconds", 30, 60),
        ("rules.priority ↔ Priority.direction", "to_right", "both"),
    ]


def test_apply_changes_the_draft_keeps_rule_ids_and_writes_an_audit_entry(mapping, django_user_model):
    user = django_user_model.objects.create_user("mira")
    ids = dict(mapping.rules.values_list("left_field", "rule_id"))

    def change(data):
        data["mappings"]["support"]["rules"].insert(0, {"left": "labels", "right": "Tags__c"})

    apply(edited(change), user, {})
    mapping.refresh_from_db()
    assert list(mapping.rules.values_list("left_field", flat=True)) == ["labels", "summary", "priority"]
    after = dict(mapping.rules.values_list("left_field", "rule_id"))
    assert {field: after[field] for field in ids} == ids
    assert mapping.revision == 1
    entry = AuditEntry.objects.get()
    assert (entry.code, entry.actor, entry.mapping_id) == ("config_update", "mira", mapping.pk)
    assert len(entry.values["after"]["rules"]) == 3


def test_what_the_file_leaves_out_is_deleted_only_when_asked(mapping):
    ValueMap.objects.create(name="Unused", entries=[{"left": "a", "right": "b"}])
    text = edited(lambda data: data["value_maps"].pop("Unused"))
    assert ("delete", "value_maps", "Unused") in changes_of(plan(text))
    with pytest.raises(ConfigError, match=r"leaves out value_maps\.Unused"):
        apply(text, None, {})
    assert ValueMap.objects.filter(name="Unused").exists()
    apply(text, None, {}, delete=True)
    assert not ValueMap.objects.filter(name="Unused").exists()


def test_a_section_that_is_absent_is_left_alone(mapping):
    text = edited(lambda data: [data.pop(section) for section in ("connections", "value_maps", "policies")])
    assert changes_of(plan(text)) == set()


def test_a_mapping_with_a_history_is_not_deleted_and_nothing_else_changes(mapping):
    version = mapping.versions.create(number=1, document={})
    Mapping.objects.update(published=version)
    Run.objects.create(mapping=mapping, version=version, kind="live")

    def change(data):
        data["mappings"].pop("support")
        data["policies"]["Newest wins"]["tolerance"] = 9

    with pytest.raises(ConfigError, match="has a history and cannot be deleted"):
        apply(edited(change), None, {}, delete=True)
    assert ConflictPolicy.objects.get().tolerance == 3
    assert Mapping.objects.get().published == version


def test_a_mapping_that_never_ran_is_deleted_with_its_connection(mapping):
    def change(data):
        data["mappings"].pop("support")
        data["connections"].pop("Salesforce")

    apply(edited(change), None, {}, delete=True)
    assert not Mapping.objects.exists()
    assert list(Connection.objects.values_list("name", flat=True)) == ["Jira"]


def test_a_missing_environment_variable_is_named_and_nothing_changes(mapping):
    text = export()
    Mapping.objects.all().delete()
    Connection.objects.all().delete()
    with pytest.raises(ConfigError, match="environment variable JIRA_API_TOKEN is not set"):
        apply(text, None, {})
    assert not Connection.objects.exists()


def test_a_new_address_asks_for_the_secret_again(mapping):
    text = edited(lambda data: data["connections"]["Jira"].update(address="https://elsewhere.example.com"))
    with pytest.raises(ConfigError, match="A new address asks for the secret again"):
        apply(text, None, {})
    apply(text, None, {"JIRA_API_TOKEN": "jira-secret-2"})
    assert Connection.objects.get(name="Jira").state == Connection.State.UNTESTED


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d["mappings"]["support"].update(colour=1), "mappings.support.colour: is not known here"),
        (lambda d: d["mappings"]["support"].pop("left"), "mappings.support.left: is missing"),
        (lambda d: d["mappings"]["support"].update(poll_seconds="x"), "poll_seconds: must be a whole number"),
        (lambda d: d["mappings"]["support"].update(initial="maybe"), "'maybe' is none of"),
        (lambda d: d["mappings"]["support"]["rules"][0].update(policy="Nwest"), "there is no policy 'Nwest'"),
        (lambda d: d["mappings"]["support"]["left"].update(connection="Nowhere"), "there is no connection 'Nowhere'"),
        (lambda d: d["mappings"]["support"].update(match_keys=[[]]), "must name at least one pair"),
        (lambda d: d["mappings"]["support"]["rules"].append({"left": "summary", "right": "Subject"}), "already"),
        (lambda d: d["value_maps"]["Priority"]["entries"].append({"left": "x"}), "must have left and right"),
        (lambda d: d["connections"]["Jira"].update(kind="nope"), "there is no connector 'nope'"),
        (lambda d: d["connections"]["Jira"]["settings"].update(api_token="x"), "is a secret"),
        (lambda d: d["connections"]["Jira"]["secrets"].update(api_token="p@ss"), "never the secret"),
        (lambda d: d["connections"]["Jira"]["settings"].update(colour="x"), "has no such setting"),
        (lambda d: d.update(extra={}), "extra: is not a section"),
        (lambda d: d.update(version=2), "version: must be 1"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_the_reason(mapping, change, problem):
    with pytest.raises(ConfigError) as caught:
        plan(edited(change))
    assert problem in str(caught.value)
    assert "p@ss" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: &x [1]\nb: *x", "anchors and aliases"),
        ("a: *x", "anchors and aliases"),
        ("a: !!python/object/apply:os.system [ls]", "tags"),
        ("version: !!str 1", "tags"),
        ("version: 1\nversion: 1", "stands there twice"),
        ("1: 2", "must be text"),
        ("a: [", "not valid YAML"),
        ("--- 1\n--- 2", "several YAML documents"),
        ("[" * 50 + "]" * 50, "nested deeper"),
        ("- 1", "must be a mapping"),
        ("#" * (SIZE_LIMIT + 1), "larger than 2 MB"),
    ],
)
def test_a_hostile_or_broken_file_is_refused(text, problem):
    with pytest.raises(ConfigError, match=problem):
        load(text)


def test_words_that_yaml_takes_for_something_else_stay_words():
    text = "version: 1\nvalue_maps: {M: {entries: [{left: No, right: 16:30}, {left: 2026-01-02, right: 010}]}}"
    entries = load(text)["value_maps"]["M"]["entries"]
    assert entries == [{"left": "No", "right": "16:30"}, {"left": "2026-01-02", "right": "010"}]
    assert load(dump({"value_maps": {"M": {"entries": entries}}}))["value_maps"]["M"]["entries"] == entries


def test_an_export_never_uses_anchors_for_equal_lists(mapping):
    other = Mapping.objects.get()
    other.pk, other.slug, other.name = None, "other", "Other"
    other.save()
    assert "&" not in export()
    assert changes_of(plan(export())) == set()


def test_environment_names_are_made_of_the_connection_and_the_secret():
    assert secret_variable("Jira Cloud (EU)", "api_token") == "JIRA_CLOUD_EU_API_TOKEN"
    assert secret_variable("2nd", "token") == "SECRET_2ND_TOKEN"


# The command. ------------------------------------------------------------------------------------------------


def run(*arguments):
    """(exit code, output) of `manage.py config …`."""
    out = io.StringIO()
    try:
        call_command("config", *arguments, stdout=out, stderr=io.StringIO())
    except SystemExit as stop:
        return stop.code, out.getvalue()
    return 0, out.getvalue()


def test_command_export_and_plan_agree_with_exit_code_0(mapping, tmp_path):
    file = tmp_path / "config.yaml"
    assert run("export", str(file))[0] == 0
    assert file.read_text() == export()
    code, output = run("plan", str(file))
    assert code == 0
    assert "0 created, 0 updated, 0 deleted" in output


def test_command_export_writes_to_the_terminal_without_a_file(mapping):
    assert run("export") == (0, export())


def test_command_plan_answers_2_when_there_are_changes_and_changes_nothing(mapping, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(edited(lambda data: data["mappings"]["support"].update(poll_seconds=60)))
    code, output = run("plan", str(file))
    assert code == 2
    assert "~ mappings.support\n    poll_seconds: 30 → 60" in output
    assert Mapping.objects.get().poll_seconds == 30


def test_command_json_has_the_documented_shape(mapping, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(edited(lambda data: data["value_maps"]["Priority"].update(description="Ours")))
    code, output = run("plan", str(file), "--json")
    answer = json.loads(output)
    assert code == 2
    assert answer["applied"] is False
    assert answer["counts"] == {"create": 0, "update": 1, "delete": 0, "unchanged": 4}
    assert {
        "action": "update",
        "section": "value_maps",
        "name": "Priority",
        "fields": [{"field": "description", "before": "", "after": "Ours"}],
    } in answer["changes"]


def test_command_apply_answers_0_and_names_the_actor(mapping, tmp_path, django_user_model):
    django_user_model.objects.create_user("mira")
    file = tmp_path / "config.yaml"
    file.write_text(edited(lambda data: data["mappings"]["support"].update(poll_seconds=60)))
    code, output = run("apply", str(file), "--user", "mira")
    assert code == 0
    assert "Mappings changed as drafts" in output
    assert Mapping.objects.get().poll_seconds == 60
    assert AuditEntry.objects.get().actor == "mira"


def test_command_errors_answer_1_and_change_nothing(mapping, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("version: 1\nmappings: {support: {}}")
    code, output = run("apply", str(file), "--json")
    assert code == 1
    assert "mappings.support.name: is missing." in json.loads(output)["error"]
    assert run("plan", str(tmp_path / "absent.yaml"))[0] == 1
    assert run("apply", str(file), "--user", "nobody")[0] == 1
    file.write_bytes(b"\xff\xfe")
    assert run("plan", str(file))[0] == 1


def test_command_wrong_arguments_answer_1_so_that_2_means_changes_only(capsys):
    command = load_command_class("syncadmin", "config")
    for arguments in (["plan"], ["plan", "a.yaml", "--colour"], ["apply", "a.yaml", "b.yaml"]):
        with pytest.raises(SystemExit) as stop:
            command.run_from_argv(["manage.py", "config", *arguments])
        assert stop.value.code == 1
        assert "error:" in capsys.readouterr().err


TOKENS = {"method": "client_credentials", "token_path": "/token"}


def described(**more):
    """A file with one connection to a described API."""
    definition = {"version": 1, "name": "Acme", "parameters": [{"name": "bucket"}], "authentication": TOKENS, **more}
    settings = {"definition": definition, "bucket": "b", "client_id": "us"}
    connection = {"kind": "rest", "address": "https://acme.example", "settings": settings}
    held = {"Acme": {**connection, "secrets": {"client_secret": "ACME_SECRET"}}}
    return yaml.safe_dump({"version": 1, "connections": held})


def test_the_description_of_an_api_goes_out_and_in_with_its_connection(db):
    apply(described(), None, {"ACME_SECRET": "s3cret-s3cret"})
    row = Connection.objects.get(name="Acme")
    assert row.settings["definition"]["authentication"] == TOKENS and row.secrets == {"client_secret": "s3cret-s3cret"}
    assert changes_of(plan(described())) == changes_of(plan(export())) == set()


def test_a_description_that_sends_secrets_elsewhere_asks_for_them_again(db):
    apply(described(), None, {"ACME_SECRET": "s3cret-s3cret"})
    elsewhere = described(authentication={**TOKENS, "token_path": "https://evil.example/token"})
    with pytest.raises(ConfigError, match="asks for the secret again"):
        apply(elsewhere, None, {})
