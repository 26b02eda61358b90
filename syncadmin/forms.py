"""Forms for people and their roles."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.contrib.auth.validators import UnicodeUsernameValidator

from connections.access import ROLES
from connections.models import RoleAssignment
from mappings.models import Mapping

NONE, EVERYWHERE, CHOSEN = "", "everywhere", "chosen"
REACH = ((NONE, "Not"), (EVERYWHERE, "For all mappings"), (CHOSEN, "For chosen mappings"))
# What a role means, under its name in the form.
MEANINGS = {
    "admin": "Everything: connections, mappings, users.",
    "operator": "Runs, pauses, retries, approves first runs, releases brakes, tests connections.",
    "reviewer": "Settles conflicts in the review queue, repairs records.",
    "auditor": "Reads everything, verifies and exports the audit log, changes nothing.",
}


class PersonForm(forms.Form):
    """A user with roles: `role_<role>` says how far each reaches, `mappings_<role>` for which mappings."""

    username = forms.CharField(
        max_length=150, validators=[UnicodeUsernameValidator()], label="User name", help_text="What they log in with."
    )
    first_name = forms.CharField(max_length=150, required=False, label="First name")
    last_name = forms.CharField(max_length=150, required=False, label="Last name")
    email = forms.EmailField(required=False, label="E-mail")

    def __init__(self, person: User, acting: User, data: Any = None) -> None:
        self.person = person
        self.acting = acting
        initial: dict[str, Any] = {
            name: getattr(person, name) for name in ("username", "first_name", "last_name", "email")
        }
        if person.pk:
            for assignment in person.role_assignments.prefetch_related("mappings"):
                reach = EVERYWHERE if assignment.everywhere else CHOSEN
                if initial.get(f"role_{assignment.role}") != EVERYWHERE:
                    initial[f"role_{assignment.role}"] = reach
                if reach == CHOSEN:
                    initial.setdefault(f"mappings_{assignment.role}", []).extend(assignment.mappings.all())
        super().__init__(data, initial=initial)
        for role, label in ROLES.items():
            self.fields[f"role_{role}"] = forms.ChoiceField(
                choices=REACH, required=False, label=label, help_text=MEANINGS[role]
            )
            self.fields[f"role_{role}"].needed = True  # type: ignore[attr-defined]  # "Not" is an answer too
            mappings = forms.ModelMultipleChoiceField(
                Mapping.objects.all(),
                required=False,
                label=f"{label} for",
                widget=forms.CheckboxSelectMultiple,
            )
            mappings.show_if = f"role_{role}={CHOSEN}"  # type: ignore[attr-defined]
            mappings.needed = True  # type: ignore[attr-defined]
            self.fields[f"mappings_{role}"] = mappings

    def clean_username(self) -> str:
        name: str = self.cleaned_data["username"]
        if User.objects.filter(username__iexact=name).exclude(pk=self.person.pk).exists():
            raise forms.ValidationError("Somebody has this user name already.")
        return name

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        for role in ROLES:
            if data.get(f"role_{role}") == CHOSEN and not data.get(f"mappings_{role}"):
                self.add_error(f"mappings_{role}", "Choose at least one mapping.")
        loses_admin = data.get("role_admin") != EVERYWHERE and not self.person.is_superuser
        if self.person == self.acting and loses_admin:
            self.add_error("role_admin", "You cannot take this role from yourself. Ask another admin.")
        return data

    def save(self) -> User:
        """Write the person and replace their roles."""
        person, data = self.person, self.cleaned_data
        for name in ("username", "first_name", "last_name", "email"):
            setattr(person, name, data[name])
        person.save()
        person.role_assignments.all().delete()
        for role in ROLES:
            reach = data[f"role_{role}"]
            if reach:
                assignment = RoleAssignment.objects.create(user=person, role=role, everywhere=reach == EVERYWHERE)
                if reach == CHOSEN:
                    chosen: Any = assignment.mappings
                    chosen.set(data[f"mappings_{role}"])
        return person


def described(person: User) -> dict[str, Any]:
    """What the audit log keeps of a person and their roles."""
    assignments = person.role_assignments.prefetch_related("mappings")
    roles = {
        assignment.role: "all mappings" if assignment.everywhere else sorted(m.name for m in assignment.mappings.all())
        for assignment in assignments
    }
    return {
        "username": person.username,
        "name": person.get_full_name(),
        "email": person.email,
        "active": person.is_active,
        "roles": roles,
    }
