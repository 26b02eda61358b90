"""A failing history made small: steps are left out as long as what is left still fails the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sync.simulation.script import Script, Step


def smallest(script: Script, fails: Callable[[Script], bool], most: int = 400) -> Script:
    """A shorter script for which `fails` still holds, after at most `most` tries (delta debugging: Zeller, 2002)."""
    tries = 0

    def still(candidate: Script) -> bool:
        nonlocal tries
        tries += 1
        return tries <= most and fails(candidate)

    size = len(script.steps) // 2
    while size:
        start = 0
        while start < len(script.steps):
            without = script.only([*script.steps[:start], *script.steps[start + size :]])
            if still(without):
                script = without
            else:
                start += size
        size //= 2
    for number, step in enumerate(script.steps):
        for inner in reversed(range(len(step.inside))):
            current = script.steps[number]
            thinner = replace(current, inside=(*current.inside[:inner], *current.inside[inner + 1 :]))
            without = script.only(_with(script.steps, number, thinner))
            if still(without):
                script = without
    return script


def _with(steps: tuple[Step, ...], number: int, step: Step) -> list[Step]:
    return [*steps[:number], step, *steps[number + 1 :]]
