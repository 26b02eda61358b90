"""The forms of a description: one for a section, made from its inputs, and one that begins a new connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.forms.boundfield import BoundField

from connections.connectors.base import FormField
from connections.connectors.rest_definition import Definition
from connections.connectors.rest_form import CLIENT_ID, CLIENT_SECRET, KEY, PASSWORD, USER, WEBHOOK_SECRET
from connections.connectors.rest_inputs import KEPT_SPACES, Group, Input, default_text
from connections.connectors.rest_sections import Section
from connections.credentials import masked
from connections.forms import SENDERS, SecretField, dict_of
from connections.guard import check_address
from connections.models import Connection
from connections.senders import networks

OWN = "own-"  # before the names of inputs that are the connection's and not its description's
NEEDED_THERE = {"name", "token_path", "body", "parameter", "cursor"}  # of the inputs that show with a choice alone
ROWS = {"lines": 2, "pairs": 2, "values": 2, "options": 4, "long": 3}

# The sign-ins that need each of the connection's credentials.
SIGN_IN: dict[str, tuple[str, ...]] = {
    "user": ("basic", "login"),
    "password": ("basic", "login"),
    "key": ("bearer", "header", "query", "basic", "login"),
    "client_id": ("client_credentials",),
    "client_secret": ("client_credentials",),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A group of inputs as the page draws it."""

    group: Group
    switch: BoundField | None
    fields: list[BoundField]
    rare: list[BoundField]
    groups: list[Shown]
    rare_groups: list[Shown]
    rare_open: bool

    @property
    def show_if(self) -> str:
        return f"{self.switch.html_name}=on" if self.switch else ""


class SectionForm(forms.Form):
    """The inputs of a section, and what belongs to the connection itself beside them."""

    def __init__(
        self,
        section: Section,
        texts: Mapping[str, Any],
        connection: Connection,
        definition: Definition,
        data: Any = None,
    ) -> None:
        self.section = section
        self.connection = connection
        self.own: list[FormField] = []
        super().__init__(data, initial=dict(texts))
        for one in section.group.all_inputs:
            self.fields[one.name] = _field(one)
        if section.where == "system":
            self._add_connection(definition)
        for declared in _credentials(section):
            self._add(declared)
        for name, methods in SIGN_IN.items() if section.where == "sign-in" else ():
            self.fields[OWN + name].show_if = f"authentication__method={'|'.join(methods)}"  # type: ignore[attr-defined]
            self.fields[OWN + name].needed = True  # type: ignore[attr-defined]  # where the sign-in has a place for it

    def _add_connection(self, definition: Definition) -> None:
        self.fields[f"{OWN}name"] = forms.CharField(
            label="Name of the connection", max_length=100, initial=self.connection.name,
            help_text="What people here call it: Acme production.",
        )  # fmt: skip
        self.fields[f"{OWN}address"] = forms.CharField(
            label="Address", max_length=500, initial=self.connection.address,
            help_text="All paths of the description lie below it, like https://api.example.com/v2.",
            widget=forms.TextInput(attrs={"inputmode": "url"}),
        )  # fmt: skip
        for each in definition.parameters:
            self._add(
                FormField(each.name, each.label or each.name, required=False, help=each.help, default=each.default)
            )

    def _add(self, declared: FormField) -> None:
        self.own.append(declared)
        name = OWN + declared.name
        if declared.secret:
            stored = dict_of(self.connection.secrets).get(declared.name, "")
            help = f"Stored: {masked(stored)}. Leave empty to keep it." if stored else declared.help
            widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"})
            self.fields[name] = SecretField(label=declared.label, required=False, help_text=help, widget=widget)
        else:
            value = (self.connection.settings or {}).get(declared.name) or declared.default
            self.fields[name] = forms.CharField(
                label=declared.label, required=False, max_length=1000, help_text=declared.help, initial=value,
                widget=forms.Textarea(attrs={"rows": 2}) if declared.multiline else forms.TextInput(),
            )  # fmt: skip

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        name = data.get(f"{OWN}name")
        if name and Connection.objects.filter(name__iexact=name).exclude(pk=self.connection.pk).exists():
            self.add_error(f"{OWN}name", "There is a connection of this name already. Choose another one.")
        senders = OWN + SENDERS.name
        if senders in data:
            try:
                data[senders] = "\n".join(str(one) for one in networks(data[senders]))
            except ValueError as refused:
                self.add_error(senders, str(refused))
        if f"{OWN}address" in data:
            data[f"{OWN}address"] = data[f"{OWN}address"].rstrip("/")
            try:
                check_address(data[f"{OWN}address"])
            except ValueError as refused:
                self.add_error(f"{OWN}address", str(refused))
        return data

    @property
    def texts(self) -> dict[str, Any]:
        return {one.name: self.cleaned_data.get(one.name) for one in self.section.group.all_inputs}

    def given(self, secret: bool) -> dict[str, str]:
        """The connection's own settings, or its secrets, as entered; secrets only where one was."""
        found = {}
        for declared in self.own:
            if OWN + declared.name not in self.data:
                continue  # not shown for this sign-in, so not taken away from the one that runs
            value = self.cleaned_data.get(OWN + declared.name) or ""
            if declared.secret == secret and (value or not secret):
                found[declared.name] = value
        return found

    # For the page. ------------------------------------------------------------------------------------------------

    @property
    def shown(self) -> Shown:
        return self._shown(self.section.group)

    @property
    def own_fields(self) -> list[BoundField]:
        return [self[name] for name in self.fields if name.startswith(OWN)]

    def _shown(self, group: Group) -> Shown:
        inner = [(each, self._shown(each)) for each in group.groups]
        rare = [self[one.name] for one in group.inputs if one.rare]
        rare_groups = [shown for each, shown in inner if each.rare]
        touched = any(self._differs(one) for one in group.inputs if one.rare)
        touched = touched or any(shown.switch and shown.switch.value() for shown in rare_groups)
        return Shown(
            group,
            self[group.switch.name] if group.switch else None,
            [self[one.name] for one in group.inputs if not one.rare],
            rare,
            [shown for each, shown in inner if not each.rare],
            rare_groups,
            bool(touched or any(field.errors for field in rare)),
        )

    def _differs(self, one: Input) -> bool:
        return bool(self[one.name].value() != default_text(one))


def _credentials(section: Section) -> Sequence[FormField]:
    if section.where == "sign-in":
        return (USER, PASSWORD, KEY, CLIENT_ID, CLIENT_SECRET)
    return (WEBHOOK_SECRET, SENDERS) if section.where == "bell" else ()


def _field(one: Input) -> forms.Field:
    made = _plain_field(one)
    # What has a value anyway is not called optional, nor what a choice needs that it is shown with.
    needed = one.path[-1] == "path" or (one.only is not None and one.path[-1] in NEEDED_THERE)
    made.needed = not one.optional or needed or bool(default_text(one))  # type: ignore[attr-defined]
    if one.only:
        made.show_if = f"{one.only[0]}={'|'.join(one.only[1])}"  # type: ignore[attr-defined]
    return made


def _plain_field(one: Input) -> forms.Field:
    options: dict[str, Any] = {"label": one.label, "help_text": one.help, "required": False}
    if one.kind == "yesno":
        return forms.BooleanField(**options)
    if one.kind == "choice":
        return forms.ChoiceField(choices=one.choices, **options)
    attributes: dict[str, Any] = {"autocomplete": "off"}
    if one.kind in ("code", "json", "pairs", "values", "statuses", "options"):
        attributes |= {"spellcheck": "false", "autocapitalize": "off", "class": "mono"}
    rows = ROWS.get(one.kind) or (3 if one.path[-1] == "body" else 0)
    widget: forms.Widget = forms.TextInput(attrs=attributes)
    if rows:
        widget = forms.Textarea(attrs={**attributes, "rows": rows})
    return forms.CharField(widget=widget, strip=one.path[-1] not in KEPT_SPACES, max_length=20_000, **options)


class StartForm(forms.Form):
    """How a new connection to any REST API begins."""

    SOURCES = (
        ("form", "Describe it in the form"),
        ("openapi", "Fill the form from an OpenAPI document"),
        ("yaml", "Take a description that was exported"),
    )
    name = forms.CharField(max_length=100, label="Name", help_text="What people here call it: Acme production.")
    address = forms.CharField(
        max_length=500,
        label="Address",
        required=False,
        help_text="All paths lie below it, like https://api.example.com/v2. An OpenAPI document may say it.",
        widget=forms.TextInput(attrs={"inputmode": "url"}),
    )
    source = forms.ChoiceField(choices=SOURCES, initial="form", label="Where the description comes from")
    url = forms.CharField(
        max_length=500,
        required=False,
        label="Address of the OpenAPI document",
        help_text="Read once, without a sign-in. Or choose a file below.",
    )
    file = forms.FileField(required=False, label="File", help_text="OpenAPI 3 or Swagger 2, JSON or YAML, up to 5 MB.")
    yaml = forms.FileField(required=False, label="Exported description", help_text="A YAML file; it holds no secrets.")

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for name, source in (("url", "openapi"), ("file", "openapi"), ("yaml", "yaml")):
            self.fields[name].show_if = f"source={source}"  # type: ignore[attr-defined]

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if Connection.objects.filter(name__iexact=name).exists():
            raise forms.ValidationError("There is a connection of this name already. Choose another one.")
        return name

    def clean_address(self) -> str:
        address: str = self.cleaned_data["address"].rstrip("/")
        if address:
            try:
                check_address(address)
            except ValueError as refused:
                raise forms.ValidationError(str(refused)) from None
        return address

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        source = data.get("source")
        if source == "openapi" and not data.get("url") and not data.get("file"):
            self.add_error("file", "Choose a file, or enter the document's address.")
        if source == "yaml" and not data.get("yaml"):
            self.add_error("yaml", "Choose the file.")
        if source != "openapi" and not data.get("address") and "address" not in self.errors:
            self.add_error("address", "This is needed.")
        return data
