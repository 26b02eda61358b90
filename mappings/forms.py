"""The forms of the mapping pages. They shape input; what is right or wrong is said by validation.py."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.text import slugify

from connections.connectors.base import Field, FormField
from connections.models import Connection
from connections.windows import DAYS
from mappings import models, schedules
from mappings.brakes import DEFAULT_BRAKES, LABELS, MOST, percent
from mappings.models import ConflictPolicy, FieldMapping, Side
from mappings.transforms import TRANSFORMS, fitting
from mappings.transforms.values import typed_number

RESERVED_SLUGS = {"new"}  # addresses of our own below /mappings/
EMPTY_ROWS = 2  # blank rows offered below the filled ones


def field_choices(fields: Sequence[Field], stored: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Choices of a field menu; a stored field that is gone stays choosable, so that saving does not lose it."""
    choices = [(field.path, _choice_label(field)) for field in sorted(fields, key=lambda f: f.label.lower())]
    known = {field.path for field in fields}
    gone = [(path, f"{path} (not there)") for path in dict.fromkeys(stored) if path and path not in known]
    return [("", "Choose…"), *choices, *gone]


def _choice_label(field: Field) -> str:
    notes = [kind_label(field)]
    if field.label != field.path:
        notes.insert(0, field.path)
    if field.required:
        notes.append("required")
    if not field.writable:
        notes.append("read only")
    return f"{field.label} ({', '.join(notes)})"


def kind_label(field: Field) -> str:
    """ "choice 5", "text 255", "rich text": kind and size, as the editor shows them."""
    kind = {"option": "choice", "boolean": "yes or no"}.get(field.kind, field.kind.replace("_", " "))
    size = len(field.options) or field.max_length
    return f"{kind} {size:,}" if size else kind


class NewMappingForm(forms.Form):
    """First step of a new mapping: what with what."""

    name = forms.CharField(max_length=100)
    left_connection = forms.ModelChoiceField(Connection.objects.all(), label="Left connection")
    left_object_type = forms.CharField(max_length=100, required=False, label="Left object type")
    right_connection = forms.ModelChoiceField(Connection.objects.all(), label="Right connection")
    right_object_type = forms.CharField(max_length=100, required=False, label="Right object type")

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        slug = slugify(name)
        if not slug or slug in RESERVED_SLUGS:
            raise ValidationError("Use a name with letters or digits: it becomes part of addresses and commands.")
        if models.Mapping.objects.filter(slug=slug).exists() or models.Mapping.objects.filter(name=name).exists():
            raise ValidationError("There is a mapping with this name. Choose another one.")
        self.cleaned_data["slug"] = slug
        return name

    def offer(self, side: str, types: Iterable[tuple[str, str]]) -> None:
        """Make the object type of a side a required menu."""
        offered = list(types)
        choices = offered if len(offered) == 1 else [("", "Choose…"), *offered]
        self.fields[f"{side}_object_type"] = forms.ChoiceField(choices=choices, label=f"{side.title()} object type")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("left_connection") and data.get("left_connection") == data.get("right_connection"):
            left, right = data.get("left_object_type"), data.get("right_object_type")
            if left and left == right:
                raise ValidationError("Both sides are the same. Nothing would cross. Choose another object type.")
        return data


class SettingsForm(forms.ModelForm):
    """Everything of a draft besides its rules and lists; scope fields come from the connectors."""

    class Meta:
        model = models.Mapping
        fields = [
            "name",
            "description",
            "create_on_left",
            "create_on_right",
            "on_delete_left",
            "on_delete_right",
            "initial",
            "poll_seconds",
            "poll_seconds_idle",
        ]
        widgets = {"description": forms.Textarea(attrs={"rows": 2})}

    def __init__(self, *args: Any, scope_forms: Mapping[str, Sequence[FormField]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = {side: self.instance.connection(side).name for side in Side.values}
        self.scope_names: dict[str, list[str]] = {side: [] for side in Side.values}
        self.fields["create_on_left"].label = f"Create in {names['left']} what is new in {names['right']}"
        self.fields["create_on_right"].label = f"Create in {names['right']} what is new in {names['left']}"
        self.fields["on_delete_left"].label = f"When a record is deleted in {names['left']}"
        self.fields["on_delete_right"].label = f"When a record is deleted in {names['right']}"
        self.fields["initial"].label = "First agreement: when a pair never agreed on a field"
        self.fields["poll_seconds"].label = "Seconds between polls while people edit"
        self.fields["poll_seconds_idle"].label = "Seconds between polls when nobody does"
        for name in ("poll_seconds", "poll_seconds_idle"):
            self.fields[name].validators += forms.IntegerField(min_value=1, max_value=MOST_POLL_SECONDS).validators
        for name, field in schedule_fields(self.instance.schedule).items():
            field.needed = True  # type: ignore[attr-defined]  # where it is shown, it has to be filled in
            self.fields[name] = field
        for kind, (number, share) in DEFAULT_BRAKES.items():
            mine = self.instance.brakes.get(kind)
            for name, field in brake_fields(kind, number, share, mine).items():
                self.fields[name] = field
        for side, form in scope_forms.items():
            scope = self.instance.left_scope if side == Side.LEFT else self.instance.right_scope
            for entry in form:
                name = f"{side}_scope_{entry.name}"
                self.fields[name] = scope_field(entry, scope.get(entry.name))
                self.scope_names[side].append(name)

    @property
    def general_fields(self) -> list[Any]:
        return [self[name] for name in ("name", "description", "initial")]

    @property
    def polling_fields(self) -> list[Any]:
        return [self[name] for name in ("poll_seconds", "poll_seconds_idle")]

    @property
    def schedule_rows(self) -> list[tuple[Any, str]]:
        """(field, the choice it belongs to) of what the chosen kind of schedule needs."""
        rows = [(name, kind) for kind, names in SCHEDULE_FIELDS.items() for name in names]
        return [(self[name], f"schedule_kind={kind}") for name, kind in rows]

    @property
    def creation_fields(self) -> list[Any]:
        return [self[name] for name in ("create_on_left", "create_on_right")]

    @property
    def deletion_fields(self) -> list[Any]:
        return [self[name] for name in ("on_delete_left", "on_delete_right")]

    @property
    def brake_rows(self) -> list[tuple[str, Any, Any]]:
        """(what is limited, its number, its share) of each kind."""
        return [(LABELS[kind], self[f"brake_{kind}_number"], self[f"brake_{kind}_share"]) for kind in DEFAULT_BRAKES]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        for kind in DEFAULT_BRAKES:
            number, share = (data.get(f"brake_{kind}_{part}") for part in ("number", "share"))
            for part, mine, other in (("number", number, share), ("share", share, number)):
                if mine is None and other is not None and f"brake_{kind}_{part}" not in self.errors:
                    self.add_error(f"brake_{kind}_{part}", "Fill in both, or leave both empty for the default.")
        names = SCHEDULE_FIELDS.get(data.get("schedule_kind") or "live", ())
        wrong = "" if any(name in self.errors for name in names) else schedules.problem(self.schedule())
        if wrong:
            self.add_error(names[-1] if names else "schedule_kind", f"The schedule {wrong}.")
        shortest, longest = data.get("poll_seconds"), data.get("poll_seconds_idle")
        if shortest and longest and longest < shortest:
            self.add_error("poll_seconds_idle", "When nobody edits we look no more often than when people do.")
        return data

    def schedule(self) -> dict[str, Any]:
        """The cleaned schedule, {} where it is live."""
        data, kind = self.cleaned_data, self.cleaned_data.get("schedule_kind") or "live"
        if kind == "live":
            return {}
        given: dict[str, Any] = {}
        if kind == "every":
            given = {"minutes": data.get("schedule_minutes")}
        elif kind == "cron":
            given = {"expression": " ".join((data.get("schedule_expression") or "").split())}
        elif kind == "hours":
            begins, ends = data.get("schedule_from"), data.get("schedule_to")
            given = {
                "days": sorted(int(day) for day in data.get("schedule_days") or ()),
                "from": f"{begins:%H:%M}" if begins else "",
                "to": f"{ends:%H:%M}" if ends else "",
            }
        return {"kind": kind, **given}

    def brakes(self) -> dict[str, list[Any]]:
        """The cleaned limits, those that are as by default left out."""
        typed = {
            kind: [self.cleaned_data[f"brake_{kind}_number"], self.cleaned_data[f"brake_{kind}_share"]]
            for kind in DEFAULT_BRAKES
            if self.cleaned_data[f"brake_{kind}_number"] is not None
        }
        # A share that reads the same is the same: 0.125 does not become 0.13 by saving.
        stored = self.instance.brakes
        return {
            kind: [
                number,
                stored[kind][1]
                if kind in stored and percent(stored[kind][1]) == percent(share / 100)
                else round(share / 100, 6),
            ]
            for kind, (number, share) in typed.items()
        }

    @property
    def left_scope_fields(self) -> list[Any]:
        return [self[name] for name in self.scope_names["left"]]

    @property
    def right_scope_fields(self) -> list[Any]:
        return [self[name] for name in self.scope_names["right"]]

    def scope(self, side: str) -> dict[str, Any]:
        """The cleaned scope; settings of the stored one that no form field stands for are kept."""
        stored = self.instance.left_scope if side == Side.LEFT else self.instance.right_scope
        prefix = f"{side}_scope_"
        known = {name.removeprefix(prefix): self.cleaned_data[name] for name in self.scope_names[side]}
        kept = {name: value for name, value in stored.items() if name not in known}
        return kept | {name: value for name, value in known.items() if value not in ("", None)}


# What each kind of schedule asks for.
SCHEDULE_FIELDS: Mapping[str, tuple[str, ...]] = {
    "every": ("schedule_minutes",),
    "cron": ("schedule_expression",),
    "hours": ("schedule_days", "schedule_from", "schedule_to"),
}
# Deletions that no list tells of are looked for once an hour, at a poll.
MOST_POLL_SECONDS = 3600


def schedule_fields(stored: Mapping[str, Any]) -> dict[str, forms.Field]:
    """The fields of a schedule, filled in as stored."""
    clock = forms.TimeInput(attrs={"type": "time"}, format="%H:%M")
    return {
        "schedule_kind": forms.ChoiceField(
            label="It runs",
            required=False,
            choices=list(schedules.KINDS.items()),
            initial=schedules.kind_of(stored),
        ),
        "schedule_minutes": forms.IntegerField(
            label="Minutes from one run to the next",
            required=False,
            min_value=1,
            max_value=schedules.MOST_MINUTES,
            initial=stored.get("minutes"),
        ),
        "schedule_expression": forms.CharField(
            label="Cron expression",
            required=False,
            max_length=100,
            initial=stored.get("expression"),
            help_text="Minute, hour, day, month, weekday: “0 6 * * 1-5” is at 06:00 from Monday to Friday.",
        ),
        "schedule_days": forms.MultipleChoiceField(
            label="Days on which the hours begin",
            required=False,
            choices=list(enumerate(DAYS)),
            widget=forms.CheckboxSelectMultiple,
            initial=stored.get("days"),
        ),
        "schedule_from": forms.TimeField(label="From", required=False, widget=clock, initial=stored.get("from")),
        "schedule_to": forms.TimeField(label="To", required=False, widget=clock, initial=stored.get("to")),
    }


def brake_fields(kind: str, number: int, share: float, mine: Sequence[Any] | None) -> dict[str, forms.Field]:
    """Two fields of a limit. `number`, `share`: the default; `mine`: [number, share] as stored, if there is one."""
    label = LABELS[kind]
    return {
        f"brake_{kind}_number": forms.IntegerField(
            label=f"{label}: number in an hour",
            required=False,
            min_value=0,
            max_value=MOST,
            initial=mine[0] if mine else None,
            help_text=f"Default {number:,}",
        ),
        f"brake_{kind}_share": forms.FloatField(
            label=f"{label}: or percent of the linked records",
            required=False,
            min_value=0,
            max_value=100,
            initial=percent(mine[1]) if mine else None,
            help_text=f"Default {percent(share)} %",
        ),
    }


def scope_field(entry: FormField, value: Any) -> forms.Field:
    """A form field for one setting of a scope. Required ones are reported by validation, so a draft can wait."""
    options: dict[str, Any] = {
        "label": entry.label,
        "required": False,
        "help_text": f"Needed before publishing. {entry.help}".strip() if entry.required else entry.help,
        "initial": value if value is not None else entry.default,
    }
    if entry.choices:
        return forms.ChoiceField(choices=[("", "Choose…"), *entry.choices], **options)
    widget = forms.Textarea(attrs={"rows": 2}) if entry.multiline else forms.TextInput()
    return forms.CharField(widget=widget, **options)


# Lists of rows in the settings. ------------------------------------------------------------------------------


class MatchPairForm(forms.Form):
    """One pair of a way to find the same thing; rows with the same number belong together."""

    way = forms.IntegerField(min_value=1, max_value=20, required=False)
    left = forms.ChoiceField(required=False)
    right = forms.ChoiceField(required=False)

    def __init__(self, *args: Any, choices: Mapping[str, list[tuple[str, str]]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for side in Side.values:
            self.fields[side].choices = choices[side]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if bool(data.get("left")) != bool(data.get("right")):
            raise ValidationError("Choose a field on both sides, or on neither.")
        return data


class ExtraValueForm(forms.Form):
    """One value written beside the rules: at creation, or when a twin is closed."""

    field = forms.ChoiceField(required=False)
    value = forms.CharField(required=False, max_length=10_000)

    def __init__(self, *args: Any, fields: Sequence[Field], choices: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.known = {field.path: field for field in fields}
        self.fields["field"].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        path = data.get("field")
        if path:
            kind = self.known[path].kind if path in self.known else "text"
            data["parsed"] = parse_value(kind, data.get("value", ""))
        elif data.get("value"):
            raise ValidationError("Choose the field that gets this value.")
        return data


def parse_value(kind: str, text: str) -> Any:
    """What a person typed, as the normalised value of a kind. Raises ValidationError."""
    text = text.strip()
    if not text:
        return None
    if kind == "number":
        try:
            return typed_number(text)
        except ValueError as problem:
            raise ValidationError(str(problem)) from None
    if kind == "boolean":
        if text.lower() not in ("yes", "no", "true", "false"):
            raise ValidationError(f"“{text}” is neither yes nor no.")
        return text.lower() in ("yes", "true")
    if kind == "set":
        return sorted({part.strip() for part in text.split(",") if part.strip()})
    return text


def typed(value: Any) -> str:
    """The inverse of `parse_value`, for filling forms."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


MatchPairs = forms.formset_factory(MatchPairForm, extra=EMPTY_ROWS, max_num=60, absolute_max=60)
ExtraValues = forms.formset_factory(ExtraValueForm, extra=EMPTY_ROWS, max_num=60, absolute_max=60)


def match_keys_of(formset: Any) -> list[list[dict[str, str]]]:
    """The mapping's `match_keys` as the rows say."""
    ways: dict[int, list[dict[str, str]]] = {}
    for number, data in enumerate(formset.cleaned_data, start=1):
        if data.get("left"):
            ways.setdefault(data.get("way") or number, []).append({"left": data["left"], "right": data["right"]})
    return [ways[number] for number in sorted(ways)]


def match_rows(match_keys: Sequence[Sequence[Mapping[str, str]]]) -> list[dict[str, Any]]:
    return [{"way": number, **pair} for number, way in enumerate(match_keys, start=1) for pair in way]


def extra_values_of(formset: Any) -> dict[str, Any]:
    return {data["field"]: data["parsed"] for data in formset.cleaned_data if data.get("field")}


def extra_rows(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"field": path, "value": typed(value)} for path, value in values.items()]


# Rules. ------------------------------------------------------------------------------------------------------


class RuleForm(forms.ModelForm):
    """One rule. The settings of every transform are in the form; those of the chosen one are kept."""

    left_field = forms.ChoiceField()
    right_field = forms.ChoiceField()
    transform = forms.ChoiceField(help_text="How a value becomes one of the other side.")

    class Meta:
        model = FieldMapping
        fields = [
            "left_field",
            "right_field",
            "direction",
            "transform",
            "value_map",
            "policy",
            "one_way_target",
            "initial",
            "enabled",
        ]

    def __init__(
        self,
        *args: Any,
        left_fields: Sequence[Field],
        right_fields: Sequence[Field],
        names: Sequence[str],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        sides = (("left_field", left_fields, names[0]), ("right_field", right_fields, names[1]))
        for name, fields, connection in sides:
            chosen = getattr(self.instance, name) or self.initial.get(name, "")
            self.fields[name].choices = field_choices(fields, [chosen])  # type: ignore[attr-defined]
            self.fields[name].label = f"Field in {connection}"
        self.fields["transform"].choices = self._transforms(left_fields, right_fields)  # type: ignore[attr-defined]
        self.fields["policy"].label = "When both sides changed"
        self.fields["policy"].empty_label = "Default: ask a person (sets: merge)"  # type: ignore[attr-defined]
        self.fields["value_map"].empty_label = "None"  # type: ignore[attr-defined]
        self.fields["initial"].label = "When the pair never agreed on this field"
        self.fields["initial"].help_text = ""
        self.fields["initial"].choices = [("", "As the mapping says"), *models.Mapping.Initial.choices]  # type: ignore[attr-defined]
        self.fields["enabled"].label = "Switched on"
        self.fields["enabled"].help_text = "While a rule is off, time stands still for it: what was agreed is kept."
        self.param_names: dict[str, list[tuple[str, str]]] = {}
        for transform in TRANSFORMS.values():
            for name, label in transform.params:
                field_name = f"param-{transform.name}-{name}"
                given = self.instance.params.get(name, "") if self.instance.transform == transform.name else ""
                self.fields[field_name] = forms.CharField(label=label, required=False, initial=given)
                self.fields[field_name].show_if = f"transform={transform.name}"  # type: ignore[attr-defined]
                self.param_names.setdefault(transform.name, []).append((name, field_name))
        self.order_fields(["left_field", "right_field", "direction", "transform", *self._params_order(), "value_map"])

    def _params_order(self) -> list[str]:
        return [field_name for names in self.param_names.values() for _, field_name in names]

    def _transforms(self, left_fields: Sequence[Field], right_fields: Sequence[Field]) -> list[Any]:
        """The menu, with the transforms made for the chosen fields' kinds on top."""
        chosen = [
            next((f for f in fields if f.path == (self.data.get(name) or self.initial.get(name))), None)
            for name, fields in (("left_field", left_fields), ("right_field", right_fields))
        ]
        fit = fitting(chosen[0].kind, chosen[1].kind) if chosen[0] and chosen[1] else []
        others = [transform for transform in TRANSFORMS.values() if transform not in fit]
        groups = [
            (label, [(transform.name, f"{transform.label}: {transform.help}") for transform in group])
            for label, group in (("Fits these fields", fit), ("Other transforms" if fit else "Transforms", others))
            if group
        ]
        known = {transform.name for transform in TRANSFORMS.values()}
        if self.instance.transform not in known:
            groups.append(("Not there any more", [(self.instance.transform, self.instance.transform)]))
        return groups

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        left, right = data.get("left_field"), data.get("right_field")
        twins = FieldMapping.objects.filter(mapping=self.instance.mapping, left_field=left, right_field=right)
        if left and right and twins.exclude(pk=self.instance.pk).exists():
            raise ValidationError("These two fields already have a rule. Nothing was saved. Edit that rule instead.")
        return data

    def save(self, commit: bool = True) -> FieldMapping:
        names = self.param_names.get(self.cleaned_data["transform"], [])
        given = {name: self.cleaned_data[field_name] for name, field_name in names}
        before = self.instance.params
        self.instance.params = {
            # A value that reads the same is the same: 2 does not become "2" by saving.
            name: before[name] if name in before and str(before[name]) == value else value
            for name, value in given.items()
            if value != ""
        }
        return super().save(commit)


# Value maps and policies. ------------------------------------------------------------------------------------


class PolicyForm(forms.ModelForm):
    class Meta:
        model = ConflictPolicy
        fields = ["name", "kind", "tolerance", "description"]
        widgets = {"description": forms.Textarea(attrs={"rows": 2})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["kind"].label = "When both sides changed"
        self.fields["tolerance"].label = "Too close to call, in seconds"
        self.fields["tolerance"].show_if = "kind=newest"  # type: ignore[attr-defined]
        self.fields["tolerance"].required = False

    def clean_tolerance(self) -> float:
        tolerance = self.cleaned_data.get("tolerance")
        if tolerance is None:
            return self.instance.tolerance
        if not 0 <= tolerance <= 86_400:
            raise ValidationError("Choose 0 to 86,400 seconds (a day).")
        return float(tolerance)


class ValueMapForm(forms.ModelForm):
    """Name and purpose; the lines are read by `entry_value`, one by one."""

    class Meta:
        model = models.ValueMap
        fields = ["name", "description"]
        widgets = {"description": forms.Textarea(attrs={"rows": 2})}


def entry_text(value: Any) -> str:
    """A value of a map's line as typed: text as it is, "=true" for what is not text, nothing for empty."""
    if value is None:
        return ""
    if isinstance(value, str) and not value.startswith("="):
        return value
    return "=" + json.dumps(value, ensure_ascii=False)


def entry_value(text: str) -> Any:
    """The inverse of `entry_text`. Raises ValidationError."""
    text = text.strip()
    if not text.startswith("="):
        return text or None
    try:
        value = json.loads(text[1:])
    except ValueError:
        value = []
    if isinstance(value, dict | list) or value is None or value != value:
        raise ValidationError(f"“{text}” is not understood. Write =true, =false or a number like =5 after the sign.")
    return value
