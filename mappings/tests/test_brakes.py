"""Limits of brakes: what can be used, and how it reads."""

from __future__ import annotations

from typing import Any

import pytest

from mappings.brakes import problem, words
from mappings.config_file import ConfigError, load


@pytest.mark.parametrize(
    "brakes, why",
    [
        ({}, ""),
        ({"update": [2000, 0.5], "delete": [0, 0]}, ""),
        ({"update": (5, 1)}, ""),
        ([], "must be a mapping"),
        ({"merge": [1, 0.5]}, "knows no merge"),
        ({"update": 5}, "a number and a share"),
        ({"update": [5]}, "a number and a share"),
        ({"update": ["5", 0.5]}, "whole number"),
        ({"update": [True, 0.5]}, "whole number"),
        ({"update": [-1, 0.5]}, "whole number"),
        ({"update": [2_000_000, 0.5]}, "whole number"),
        ({"update": [5, 50]}, "share from 0 to 1"),
        ({"update": [5, True]}, "share from 0 to 1"),
    ],
)
def test_a_limit_is_a_number_and_a_share(brakes: Any, why: str) -> None:
    said = problem(brakes)
    assert why in said and bool(said) is bool(why)


def test_a_configuration_file_with_a_limit_that_is_none_is_refused() -> None:
    side = "{connection: C, object_type: thing}"
    text = f"version: 1\nmappings: {{a: {{name: A, left: {side}, right: {side}, brakes: {{update: [5, 50]}}}}}}\n"
    with pytest.raises(ConfigError, match=r"mappings\.a\.brakes"):
        load(text)
    assert load(text.replace("50", "0.5"))["mappings"]["a"]["brakes"] == {"update": [5, 0.5]}


def test_limits_read_like_sentences() -> None:
    assert words({"update": [2000, 0.5], "delete": [5, 0.015]}) == (
        "Deletions and emptied fields 5 or 1.5 %; Changes 2,000 or 50 %"
    )
    assert words({}) == "as by default"
