"""The form of a connection, made from what its connector declares. Secrets go in and never come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.utils.functional import cached_property

from connections.connectors.base import Connector, FormField
from connections.credentials import masked
from connections.guard import DEFAULT_PORTS, check_address
from connections.guard_database import check_database_address
from connections.models import Connection
from connections.pauses import note_set_up_anew
from connections.senders import networks

# Of every connection that receives webhooks, beside what its connector declares; webhooks.py goes by it.
SENDERS = FormField(
    "webhook_senders",
    "Webhooks only from",
    required=False,
    multiline=True,
    help="Addresses and networks, like 203.0.113.0/24, one a line, as the system publishes them. Empty: from anywhere; "
    "the signature proves the sender in any case.",
)


def form_of(kind: type[Connector], settings: Mapping[str, Any] | None = None) -> Sequence[FormField]:
    """The fields of a connection of this kind, or of one with these settings, beside name and address."""
    form = kind.form if settings is None else kind.form_for(settings)
    return [*form, SENDERS] if kind.capabilities_for(settings or {}).bell == "webhook" else form


def _field(declared: FormField, stored: str) -> forms.Field:
    """`stored`: the secret's masked hint, or ""."""
    options: dict[str, Any] = {
        "label": declared.label,
        "help_text": declared.help,
        # Whether a hidden field is required depends on another one: `clean` decides.
        "required": declared.required and not declared.show_if and not stored,
        "initial": declared.default,
    }
    if stored:
        options["help_text"] = f"Stored: {stored}. Leave empty to keep it. {declared.help}".strip()
    if declared.choices:
        field: forms.Field = forms.ChoiceField(choices=declared.choices, **options)
    elif declared.secret and declared.multiline:
        attributes = {"rows": 6, "autocomplete": "off", "spellcheck": "false", "class": "mono"}
        field = SecretField(widget=WriteOnlyTextarea(attrs=attributes), **options)
    elif declared.secret:
        widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"})
        field = SecretField(widget=widget, **options)
    elif declared.multiline:
        field = forms.CharField(widget=forms.Textarea(attrs={"rows": 4}), **options)
    else:
        field = forms.CharField(max_length=1000, **options)
    field.show_if = "=".join(declared.show_if) if declared.show_if else ""  # type: ignore[attr-defined]
    field.needed = declared.required  # type: ignore[attr-defined]
    return field


def dict_of(encrypted: Any) -> dict[str, Any]:
    """An encrypted column's value, which the type checker takes for text."""
    return dict(encrypted)


class SecretField(forms.CharField):
    """A secret as typed: nothing is cut off, and a pasted key keeps its lines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strip=False, max_length=20_000, **options)  # a PEM key of 8192 bits has 6,500 characters


class WriteOnlyTextarea(forms.Textarea):
    """A text area that is always drawn empty."""

    def format_value(self, value: Any) -> str:
        return ""


class ConnectionForm(forms.Form):
    """Name, address and the connector's own fields. `save` returns the connection, changed but for its state."""

    name = forms.CharField(max_length=100, help_text="What people here call it: Jira production.")
    address = forms.CharField(max_length=500)

    def __init__(self, kind: type[Connector], connection: Connection, data: Any = None) -> None:
        self.kind = kind
        self.declared = form_of(kind)
        self.connection = connection
        self.stored: Mapping[str, Any] = dict_of(connection.secrets)
        initial = {"name": connection.name, "address": connection.address, **connection.settings}
        super().__init__(data, initial=initial if connection.pk else None)
        self.fields["address"].help_text = kind.address_help or "The address of the site, as people open it."
        self.fields["address"].widget.attrs["inputmode"] = "url"
        for declared in self.declared:
            secret = self.stored.get(declared.name, "") if declared.secret else ""
            self.fields[declared.name] = _field(declared, masked(secret) if secret else "")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if Connection.objects.filter(name__iexact=name).exclude(pk=self.connection.pk).exists():
            raise forms.ValidationError("There is a connection of this name already. Choose another one.")
        return name

    def clean_address(self) -> str:
        address: str = self.cleaned_data["address"].rstrip("/")
        try:
            if set(self.kind.schemes) <= set(DEFAULT_PORTS):
                check_address(address)
            else:
                check_database_address(address, self.kind.schemes)
        except ValueError as refused:
            raise forms.ValidationError(str(refused)) from None
        return address

    def clean_webhook_senders(self) -> str:
        try:
            listed = networks(self.cleaned_data["webhook_senders"])
        except ValueError as refused:
            raise forms.ValidationError(str(refused)) from None
        return "\n".join(str(one) for one in listed)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        for declared in self.declared:
            if declared.name in self.errors:
                continue
            if declared.show_if and data.get(declared.show_if[0]) != declared.show_if[1]:
                data[declared.name] = ""
                continue
            given = data.get(declared.name)
            if not given and declared.required and not self._kept(declared):
                self.add_error(declared.name, "This is needed.")
            elif not given and declared.secret and self._kept(declared) and self.leads_elsewhere:
                self.add_error(
                    declared.name,
                    "The address changed, so the stored secret is not sent there. Nothing was saved. Enter it again.",
                )
        return data

    def _kept(self, declared: FormField) -> bool:
        return declared.secret and bool(self.stored.get(declared.name))

    @cached_property
    def leads_elsewhere(self) -> bool:
        """Whether a stored secret would be sent to another place: the address, or an address among the settings."""
        if not self.connection.pk:
            return False
        if self.cleaned_data.get("address", self.connection.address) != self.connection.address:
            return True
        for declared in self.declared:
            before = str(self.connection.settings.get(declared.name, ""))
            after = str(self.cleaned_data.get(declared.name) or "")
            if not declared.secret and before != after and "://" in before + after:
                return True
        return False

    def differences(self) -> list[dict[str, Any]]:
        """Where a valid form says otherwise than what is stored, secrets apart: [{"label", "theirs", "mine"}]."""
        names = ["name", "address", *(declared.name for declared in self.declared if not declared.secret)]
        return [
            {"label": self.fields[name].label or name.capitalize(), "theirs": theirs, "mine": mine}
            for name in names
            if (theirs := self.initial.get(name) or "") != (mine := self.cleaned_data.get(name) or "")
        ]

    @property
    def replaced_secrets(self) -> list[str]:
        """Labels of the secrets that were entered."""
        return [d.label for d in self.declared if d.secret and self.cleaned_data.get(d.name)]

    def save(self) -> Connection:
        connection: Any = self.connection  # its encrypted columns are text to the type checker
        data = self.cleaned_data
        # A stored secret that its form does not show now must not follow to another place either.
        secrets = {} if self.leads_elsewhere else dict(self.stored)
        # What a connector's own pages keep there stays: the description of an API.
        names = {declared.name for declared in self.declared}
        settings = {name: value for name, value in connection.settings.items() if name not in names}
        for declared in self.declared:
            given = data.get(declared.name) or ""
            if not declared.secret:
                settings[declared.name] = given
            elif given:
                secrets[declared.name] = given
        before = connection.signs_in_with
        connection.name = data["name"]
        connection.address = data["address"]
        connection.settings = settings
        connection.secrets = secrets
        # Else tokens and the last test stand: who may send to us says nothing of the sign-in.
        changed = connection.signs_in_with != before or bool(self.replaced_secrets)
        columns = ["name", "address", "settings", "secrets", "updated_at"]
        if changed:
            connection.tokens = {}  # they were got with what was replaced
            columns.append("tokens")
        # Named columns: workers keep their own facts in this row meanwhile.
        connection.save(update_fields=columns if connection.pk else None)
        if changed:
            note_set_up_anew(connection)
        return self.connection
