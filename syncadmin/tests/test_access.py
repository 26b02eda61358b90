"""Roles, log-in, lock-out, users: who gets where, and that the audit log knows."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser, User
from django.test import RequestFactory, SimpleTestCase, override_settings
from django.urls import URLPattern, URLResolver, get_resolver

from connections.access import ACTIONS, ROLES, can, can_everywhere, mappings_for, requires, roles_of, who_may
from connections.models import Connection, RoleAssignment
from mappings.models import Mapping
from sync.models import AuditEntry
from syncadmin.tests.cases import RolesCase

# Views of our own that need no role: they must work for strangers, or guard themselves.
OPEN = {"healthz", "login", "logout", "password", "webhook"}


def make_mapping(name: str) -> Mapping:
    left, _ = Connection.objects.get_or_create(name="Left", defaults={"kind": "memory", "address": "https://l.example"})
    right, _ = Connection.objects.get_or_create(
        name="Right", defaults={"kind": "memory", "address": "https://r.example"}
    )
    return Mapping.objects.create(
        name=name,
        slug=name.lower(),
        left_connection=left,
        left_object_type="issue",
        right_connection=right,
        right_object_type="case",
    )


class TableTests(RolesCase):
    def test_an_admin_may_do_everything_and_a_stranger_nothing(self) -> None:
        for action in ACTIONS:
            self.assertTrue(can(self.admin, action), action)
            self.assertFalse(can(self.stranger, action), action)
            self.assertFalse(can(AnonymousUser(), action), action)

    def test_an_auditor_reads_and_checks_and_writes_nothing(self) -> None:
        allowed = {action for action in ACTIONS if can(self.auditor, action)}
        self.assertEqual(allowed, {a for a in ACTIONS if a.endswith(".read")} | {"audit.verify", "audit.export"})

    def test_what_each_of_the_others_may(self) -> None:
        self.assertTrue(can(self.operator, "brakes.release"))
        self.assertFalse(can(self.operator, "connections.edit"))
        self.assertFalse(can(self.operator, "mappings.publish"))
        self.assertFalse(can(self.operator, "review.settle"))
        self.assertTrue(can(self.reviewer, "review.settle"))
        self.assertFalse(can(self.reviewer, "runs.start"))
        self.assertFalse(can(self.reviewer, "audit.read"))

    def test_a_superuser_is_an_admin(self) -> None:
        self.assertEqual(roles_of(User.objects.create_superuser("root")), {"admin"})

    def test_a_deactivated_person_may_nothing(self) -> None:
        self.admin.is_active = False
        self.assertEqual(roles_of(self.admin), frozenset())

    def test_a_role_for_chosen_mappings_reaches_these_alone_and_nothing_house_wide(self) -> None:
        mine, other = make_mapping("Mine"), make_mapping("Other")
        person = User.objects.create_user("chosen")
        mine.assignments.add(RoleAssignment.objects.create(user=person, role="admin", everywhere=False))
        self.assertTrue(can(person, "mappings.edit", mine))
        self.assertFalse(can(person, "mappings.edit", other))
        self.assertEqual(mappings_for(person, "mappings.edit"), {mine.pk})
        self.assertIsNone(mappings_for(self.admin, "mappings.edit"))
        self.assertFalse(can(person, "users.manage"))
        self.assertFalse(can(person, "connections.edit"))
        self.assertFalse(can_everywhere(person, "mappings.edit"))

    def test_who_may_is_said_in_words(self) -> None:
        self.assertEqual(who_may("users.manage"), "an admin")
        self.assertEqual(who_may("brakes.release"), "an admin or an operator")
        self.assertEqual(who_may("runs.read"), "an admin, an operator or an auditor")

    def test_an_unknown_action_is_noticed_at_import(self) -> None:
        with self.assertRaises(KeyError):
            requires("connections.explode")


class PageTests(RolesCase):
    def test_home_is_open_to_all_roles_and_to_nobody_else(self) -> None:
        self.assert_access("/", allowed=set(ROLES))

    def test_users_are_for_admins(self) -> None:
        for url in ("/users/", "/users/add/", f"/users/{self.reviewer.pk}/"):
            self.assert_access(url, allowed={"admin"})
        somebody = User.objects.create_user("somebody")
        for verb in ("active", "unlock", "password"):
            self.assert_access(f"/users/{somebody.pk}/{verb}/", allowed={"admin"}, method="post")

    def test_queues_are_for_those_who_run_or_inspect(self) -> None:
        self.assert_access("/queues/", allowed={"admin", "operator", "auditor"})

    def test_a_refusal_says_who_may_and_is_written_down(self) -> None:
        self.as_("reviewer")
        response = self.client.get("/users/")
        self.assertContains(response, "This takes an admin", status_code=403)
        entry = AuditEntry.objects.get(code="denied")
        self.assertEqual(
            (entry.actor, entry.params["action"], entry.params["path"]), ("reviewer", "users.manage", "/users/")
        )

    def test_somebody_without_a_role_is_told_so(self) -> None:
        self.as_("stranger")
        self.assertContains(self.client.get("/"), "no role yet", status_code=403)

    def test_the_sidebar_leaves_out_what_the_role_may_not(self) -> None:
        self.as_("reviewer")
        html = self.client.get("/").content.decode()
        for url in ("/users/", "/queues/", 'href="/connections/"'):
            self.assertNotIn(url, html)
        self.as_("admin")
        html = self.client.get("/").content.decode()
        for url in ("/users/", "/queues/", 'href="/connections/"'):
            self.assertIn(url, html)

    def test_no_other_app_s_model_forms_pass_by_our_roles(self) -> None:
        User.objects.create_superuser("root", password="right-password")
        self.client.login(request=RequestFactory().get("/"), username="root", password="right-password")
        for url in ("/auth/user/", "/axes/accessattempt/", "/django_rq/queue/"):
            self.assertEqual(self.client.get(url).status_code, 404, url)

    def test_an_unknown_page_is_explained(self) -> None:
        self.as_("admin")
        self.assertContains(self.client.get("/nowhere/"), "Not found", status_code=404)

    def test_a_part_of_a_page_sends_the_whole_browser_to_the_log_in(self) -> None:
        response = self.client.get("/", headers={"HX-Request": "true"})
        self.assertEqual((response.status_code, response["HX-Redirect"]), (401, "/login/"))

    def test_the_content_policy_allows_our_own_files_alone(self) -> None:
        self.as_("admin")
        for url in ("/", "/users/", "/login/", "/nowhere/"):
            policy = self.client.get(url).headers["Content-Security-Policy"]
            self.assertIn("script-src 'self'", policy)
            self.assertNotIn("unsafe", policy)

    def test_no_page_holds_inline_script_or_style(self) -> None:
        self.as_("admin")
        for url in ("/", "/users/", "/users/add/", "/queues/", "/connections/", "/password/"):
            html = self.client.get(url).content.decode()
            self.assertNotIn(" style=", html)
            self.assertNotIn("<style", html)
            self.assertNotRegex(html, r"<script(?![^>]* src=)")
            self.assertNotRegex(html, r"\son[a-z]+=")


class GuardTests(SimpleTestCase):
    def test_every_page_of_ours_asks_for_an_action(self) -> None:
        unguarded = [
            pattern.name
            for pattern in _own_patterns(get_resolver().url_patterns)
            if pattern.name not in OPEN and not hasattr(pattern.callback, "action")
        ]
        self.assertEqual(unguarded, [])


def _own_patterns(patterns: list[URLPattern | URLResolver]) -> list[URLPattern]:
    found: list[URLPattern] = []
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            if pattern.app_name != "admin":  # unfold's site checks `has_permission` itself
                found += _own_patterns(pattern.url_patterns)
        else:
            found.append(pattern)
    return found


class LoginTests(RolesCase):
    def log_in(self, name: str, password: str) -> int:
        return self.client.post("/login/", {"username": name, "password": password}).status_code

    def test_log_in_and_out_leave_a_line_each(self) -> None:
        self.assertEqual(self.log_in("reviewer", "right-password"), 302)
        self.client.post("/logout/")
        codes = list(AuditEntry.objects.order_by("pk").values_list("code", "actor"))
        self.assertEqual(codes, [("login", "reviewer"), ("logout", "reviewer")])

    def test_a_wrong_password_leaves_a_line_without_the_password(self) -> None:
        self.assertEqual(self.log_in("reviewer", "wrong-password"), 200)
        entry = AuditEntry.objects.get()
        self.assertEqual((entry.code, entry.actor), ("login_failed", "reviewer"))
        self.assertNotIn("wrong-password", str(entry.params) + str(entry.values))

    def test_logging_out_takes_a_form_not_a_link(self) -> None:
        self.as_("reviewer")
        self.assertEqual(self.client.get("/logout/").status_code, 405)

    def test_only_pages_of_ours_are_gone_to_after_the_log_in(self) -> None:
        data = {"username": "admin", "password": "right-password", "next": "https://evil.example/"}
        self.assertEqual(self.client.post("/login/", data)["Location"], "/")

    @override_settings(AXES_ENABLED=True)
    def test_five_wrong_passwords_close_the_log_in_even_for_the_right_one_until_an_admin_unlocks(self) -> None:
        for _ in range(4):
            self.assertEqual(self.log_in("reviewer", "wrong"), 200)
        self.assertEqual(self.log_in("reviewer", "wrong"), 429)
        response = self.client.post("/login/", {"username": "reviewer", "password": "right-password"})
        self.assertContains(response, "Log-in closed for a while", status_code=429)
        codes = list(AuditEntry.objects.values_list("code", flat=True))
        self.assertEqual((codes.count("login_failed"), codes.count("login_locked")), (4, 2))
        self.as_("admin")
        self.assertContains(self.client.get("/users/"), "Locked out")
        self.client.post(f"/users/{self.reviewer.pk}/unlock/")
        self.assertNotContains(self.client.get("/users/"), "Locked out")
        self.as_("nobody")
        self.assertEqual(self.log_in("reviewer", "right-password"), 302)
        self.assertTrue(AuditEntry.objects.filter(code="user_unlocked", actor="admin").exists())

    def test_people_change_their_own_password(self) -> None:
        self.as_("reviewer")
        new = "a-much-better-one"
        data = {"old_password": "right-password", "new_password1": new, "new_password2": new}
        self.assertEqual(self.client.post("/password/", data).status_code, 302)
        self.assertTrue(User.objects.get(username="reviewer").check_password(new))
        self.assertTrue(AuditEntry.objects.filter(code="password_changed", actor="reviewer").exists())


class UserTests(RolesCase):
    def setUp(self) -> None:
        self.as_("admin")

    def given(self, **changes: object) -> dict[str, object]:
        roles = {f"role_{role}": "" for role in ROLES}
        return {"username": "nadia", "first_name": "Nadia", "last_name": "Haddad", "email": "", **roles, **changes}

    def test_a_new_person_gets_roles_and_a_password_that_is_shown_once(self) -> None:
        mapping = make_mapping("Support")
        data = self.given(role_reviewer="chosen", mappings_reviewer=[mapping.pk], role_auditor="everywhere")
        response = self.client.post("/users/add/", data)
        person = User.objects.get(username="nadia")
        password = response.context["password"]
        self.assertContains(response, password)
        self.assertEqual(response["Cache-Control"], "no-store")
        self.assertTrue(person.check_password(password))
        self.assertEqual(roles_of(person, mapping), {"reviewer", "auditor"})
        self.assertEqual(roles_of(person, make_mapping("Other")), {"auditor"})
        entry = AuditEntry.objects.get(code="user_created")
        self.assertEqual(entry.values["after"]["roles"], {"reviewer": ["Support"], "auditor": "all mappings"})
        self.assertNotIn(password, str(entry.values) + str(entry.params))

    def test_a_form_with_an_error_changes_nothing(self) -> None:
        response = self.client.post("/users/add/", self.given(username="Reviewer"))
        self.assertContains(response, "has this user name already", status_code=422)
        response = self.client.post("/users/add/", self.given(role_reviewer="chosen"))
        self.assertContains(response, "Choose at least one mapping", status_code=422)
        self.assertFalse(User.objects.filter(username__in=["nadia", "Reviewer"]).exists())

    def test_changed_roles_are_written_down_with_before_and_after(self) -> None:
        data = self.given(username="reviewer", role_operator="everywhere")
        self.assertEqual(self.client.post(f"/users/{self.reviewer.pk}/", data).status_code, 302)
        self.assertEqual(roles_of(User.objects.get(pk=self.reviewer.pk)), {"operator"})
        values = AuditEntry.objects.get(code="user_changed").values
        self.assertEqual(values["before"]["roles"], {"reviewer": "all mappings"})
        self.assertEqual(values["after"]["roles"], {"operator": "all mappings"})

    def test_the_form_shows_the_roles_as_they_are(self) -> None:
        page = self.client.get(f"/users/{self.reviewer.pk}/")
        self.assertEqual(page.context["form"].initial["role_reviewer"], "everywhere")

    def test_admins_cannot_shut_themselves_out(self) -> None:
        response = self.client.post(f"/users/{self.admin.pk}/", self.given(username="admin", role_auditor="everywhere"))
        self.assertContains(response, "cannot take this role from yourself", status_code=422)
        self.client.post(f"/users/{self.admin.pk}/active/", {"active": "0"})
        self.assertTrue(User.objects.get(pk=self.admin.pk).is_active)

    def test_a_deactivated_person_is_out_at_once(self) -> None:
        theirs = self.client_class()
        theirs.force_login(self.reviewer)
        self.client.post(f"/users/{self.reviewer.pk}/active/", {"active": "0"})
        self.assertEqual(theirs.get("/").status_code, 302)
        self.client.post(f"/users/{self.reviewer.pk}/active/", {"active": "1"})
        self.assertTrue(User.objects.get(pk=self.reviewer.pk).is_active)
        codes = set(AuditEntry.objects.values_list("code", flat=True))
        self.assertLessEqual({"user_deactivated", "user_activated"}, codes)

    def test_a_reset_password_ends_every_session_of_theirs(self) -> None:
        theirs = self.client_class()
        theirs.force_login(self.reviewer)
        response = self.client.post(f"/users/{self.reviewer.pk}/password/")
        self.assertTrue(User.objects.get(pk=self.reviewer.pk).check_password(response.context["password"]))
        self.assertEqual(theirs.get("/").status_code, 302)
