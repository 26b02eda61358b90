"""Test base: one person per role and a stranger, and one assertion that walks them all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import User
from django.test import TestCase

from connections.models import RoleAssignment

ROLE_NAMES = ("admin", "operator", "reviewer", "auditor")


class RolesCase(TestCase):
    """`admin`, `operator`, `reviewer`, `auditor`: users with that role everywhere. `stranger`: logged in, no role."""

    admin: User
    operator: User
    reviewer: User
    auditor: User
    stranger: User

    @classmethod
    def setUpTestData(cls) -> None:
        super().setUpTestData()
        for role in ROLE_NAMES:
            user = User.objects.create_user(role, password="right-password")
            RoleAssignment.objects.create(user=user, role=role)
            setattr(cls, role, user)
        cls.stranger = User.objects.create_user("stranger", password="right-password")

    def as_(self, name: str) -> None:
        """Act as this person from here on; "nobody" is not logged in."""
        if name == "nobody":
            self.client.logout()
        else:
            self.client.force_login(getattr(self, name))

    def assert_access(
        self, url: str, allowed: Iterable[str], method: str = "get", data: dict[str, Any] | None = None
    ) -> None:
        """Everybody in `allowed` gets the page or is sent on; all other roles and the stranger get 403; nobody
        logged in is sent to the log-in."""
        allowed = set(allowed)
        for name in (*ROLE_NAMES, "stranger"):
            with self.subTest(user=name, url=url):
                self.as_(name)
                status = getattr(self.client, method)(url, data or {}).status_code
                if name in allowed:
                    self.assertIn(status, (200, 204, 302), f"{name} should reach {method.upper()} {url}")
                else:
                    self.assertEqual(status, 403, f"{name} should not reach {method.upper()} {url}")
        with self.subTest(user="nobody", url=url):
            self.as_("nobody")
            response = getattr(self.client, method)(url, data or {})
            self.assertEqual(response.status_code, 302)
            self.assertTrue(response["Location"].startswith("/login/"), response["Location"])
