"""Conflict policies: reusable ways to settle a field that was changed on both sides."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.db.models import ProtectedError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from connections import access, hooks
from connections.access import requires
from mappings.forms import PolicyForm
from mappings.models import ConflictPolicy
from mappings.views.value_maps import used_by
from syncadmin.seen import state_digest

# What a reviewer learns of each kind: the rule in one sentence.
EXPLAINED = {
    "review": "Nothing is written for this field until a person chooses.",
    "left": "The left side is the system of record: its value is written to the right.",
    "right": "The right side is the system of record: its value is written to the left.",
    "newest": "The later edit wins. Edits closer together than the tolerance go to a person.",
    "merge_sets": "What one side added is added, what one side removed is removed.",
    "merge_text": "Both edits are kept where they touch different lines; the rest goes to a person.",
}


@requires("policies.read")
def listing(request: HttpRequest) -> HttpResponse:
    users = used_by(request, "policy")
    rows = [
        {"policy": policy, "explained": EXPLAINED[policy.kind], "used_by": users.get(policy.pk, [])}
        for policy in ConflictPolicy.objects.all()
    ]
    return render(request, "policies/list.html", {"rows": rows})


@requires("policies.edit")
def new(request: HttpRequest) -> HttpResponse:
    return _page(request, ConflictPolicy())


@requires("policies.read")
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    policy = get_object_or_404(ConflictPolicy, pk=pk)
    if request.method == "POST":
        access.check(request.user, "policies.edit")
    return _page(request, policy)


def _stored(policy: ConflictPolicy) -> dict[str, object]:
    return {name: getattr(policy, name) for name in PolicyForm.Meta.fields}


def _page(request: HttpRequest, policy: ConflictPolicy) -> HttpResponse:
    before = _stored(policy) if policy.pk else None
    seen = state_digest(before) if before else ""
    form = PolicyForm(request.POST or None, instance=policy)
    moved = []
    if request.method == "POST" and form.is_valid():
        if request.POST.get("seen", "") == seen:
            with transaction.atomic():
                saved = form.save()
                hooks.audit(
                    "config",
                    "policy_saved" if before else "policy_created",
                    user=request.user,
                    params={"name": saved.name},
                    object_label=saved.name,
                    before=before,
                    after=_stored(saved),
                )
            messages.success(
                request,
                f"{saved.name} is saved. · Published versions keep the policy they had. · "
                "Publish the mappings that use it.",
            )
            return redirect("policies")
        moved = [
            {"label": form.fields[name].label or name, "theirs": theirs, "mine": form.cleaned_data[name]}
            for name, theirs in (before or {}).items()
            if theirs != form.cleaned_data[name]
        ]
    return render(
        request,
        "policies/edit.html",
        {
            "policy": ConflictPolicy.objects.filter(pk=policy.pk).first(),
            "form": form,
            "seen": seen,
            "moved": moved,
            "explained": EXPLAINED,
            "kinds": [(label, EXPLAINED[value]) for value, label in ConflictPolicy.Kind.choices],
            "may_edit": access.can(request.user, "policies.edit"),
            "used_by": used_by(request, "policy").get(policy.pk or 0, []),
        },
    )


@requires("policies.edit")
@require_POST
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    policy = get_object_or_404(ConflictPolicy, pk=pk)
    try:
        with transaction.atomic():
            hooks.audit(
                "config",
                "policy_removed",
                user=request.user,
                params={"name": policy.name},
                object_label=policy.name,
                before=_stored(policy),
            )
            policy.delete()
    except ProtectedError:
        messages.error(
            request,
            f"{policy.name} is used by a rule of a draft. · Nothing was removed. · Take it out of the rules first.",
        )
        return redirect("policy", pk=pk)
    messages.success(request, f"{policy.name} is removed. · Published versions keep the policy they had.")
    return redirect("policies")
