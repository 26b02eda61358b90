"""The forms of a pause and of maintenance windows; what they mean is said by windows.py and pauses.py."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from connections import windows

MOST_WINDOWS = 20  # far more than a plan of maintenance has; keeps the look before each run short
_LOCAL = {"type": "datetime-local", "step": "60"}


def _moment_field(label: str, more: str = "", **options: Any) -> forms.DateTimeField:
    zone = timezone.get_current_timezone_name()
    widget = forms.DateTimeInput(attrs=_LOCAL, format="%Y-%m-%dT%H:%M")
    return forms.DateTimeField(label=label, widget=widget, help_text=f"Time zone: {zone}.{more}", **options)


class PauseForm(forms.Form):
    reason = forms.CharField(max_length=500, label="Reason", help_text="Shown wherever somebody wonders why it waits.")
    until = _moment_field("Until", " Left empty, it stands still until somebody resumes it.", required=False)

    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if until is not None and until <= timezone.now():
            raise ValidationError("This time is over. Choose a later one, or leave it empty.")
        return until


class WeeklyWindowForm(forms.Form):
    days = forms.MultipleChoiceField(
        label="Weekdays on which it begins",
        choices=[(str(number), name) for number, name in enumerate(windows.DAYS)],
        widget=forms.CheckboxSelectMultiple(attrs={"class": "inline1"}),
    )
    begins = forms.TimeField(label="From", widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"))
    ends = forms.TimeField(
        label="To",
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        help_text="Not later than “From” means on the next day.",
    )
    zone = forms.ChoiceField(
        label="Time zone", choices=lambda: [(name, name) for name in sorted(available_timezones())]
    )
    note = forms.CharField(max_length=200, required=False, label="What for")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["zone"].initial = timezone.get_current_timezone_name()

    def window(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {
            "id": secrets.token_hex(4),
            "days": sorted(int(day) for day in data["days"]),
            "from": f"{data['begins']:%H:%M}",
            "to": f"{data['ends']:%H:%M}",
            "zone": data["zone"],
            "note": data["note"],
        }


class SingleWindowForm(forms.Form):
    start = _moment_field("From")
    end = _moment_field("To")
    note = forms.CharField(max_length=200, required=False, label="What for")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if data.get("start") and data.get("end"):
            if data["end"] <= data["start"]:
                self.add_error("end", "A window that ends before it begins is never open.")
            elif data["end"] <= timezone.now():
                self.add_error("end", "This time is over. Choose a later one.")
        return data

    def window(self) -> dict[str, Any]:
        data = self.cleaned_data
        return {
            "id": secrets.token_hex(4),
            "start": data["start"].isoformat(timespec="seconds"),
            "end": data["end"].isoformat(timespec="seconds"),
            "note": data["note"],
        }
