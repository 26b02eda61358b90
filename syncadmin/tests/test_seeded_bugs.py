"""The seeded bugs of `make mutants` fit the code as it is, and the script that plants them tells the truth."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def mutants(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/mutants.py as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import mutants as script

    yield script  # type: ignore[misc]
    for name in ("mutants", "seeded_bugs"):
        sys.modules.pop(name, None)


def test_there_are_enough_and_each_has_a_name_of_its_own(mutants: ModuleType) -> None:
    names = [bug.name for bug in mutants.BUGS]
    assert len(names) >= 30 and len(set(names)) == len(names)


def test_each_has_exactly_one_place_in_the_code_and_leaves_python(mutants: ModuleType) -> None:
    for bug in mutants.BUGS:
        code = (ROOT / bug.file).read_text()
        assert code.count(bug.find) == 1, bug.name
        ast.parse(code.replace(bug.find, bug.put))


def test_the_tests_that_must_notice_are_there(mutants: ModuleType) -> None:
    for bug in mutants.BUGS:
        assert bug.tests and bug.says
        for test in bug.tests:
            path, _, name = test.partition("::")
            code = (ROOT / path).read_text()
            assert re.search(rf"^( *def|class) {name or 'test_'}", code, re.MULTILINE), test


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    """A module with a test of its own."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p no:valkey\n")
    (tmp_path / "sums.py").write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "test_sums.py").write_text("from sums import add\n\n\ndef test_sums():\n    assert add(2, 3) == 5\n")
    return tmp_path


def bug(mutants: ModuleType, **more: Any) -> Any:
    known = {"name": "b", "says": "adds wrongly", "file": "sums.py", "find": "a + b", "put": "a - b"}
    return sys.modules["seeded_bugs"].Bug(**{**known, "tests": ("test_sums.py",), **more})


@pytest.fixture
def no_django(mutants: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs in a small tree have no tables to make."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)


@pytest.mark.usefixtures("no_django")
def test_a_bug_that_a_test_notices_is_caught_and_the_tree_is_whole_again(mutants: ModuleType, small_tree: Path) -> None:
    before = (small_tree / "sums.py").read_text()
    verdict = mutants.judge(small_tree, bug(mutants))
    assert (verdict.caught, verdict.by) == (True, "test_sums")
    assert (small_tree / "sums.py").read_text() == before


@pytest.mark.usefixtures("no_django")
@pytest.mark.parametrize(
    "more, told",
    [
        ({"put": "b + a"}, "every test passed"),
        ({"find": "a * b"}, "0 times: the code has moved"),
        ({"put": "a +"}, "no Python any more"),
        ({"tests": ("test_nothing.py",)}, "test_nothing.py"),
        ({"file": "test_sums.py", "find": "from sums import add", "put": "from sums import sub"}, "ERROR"),
    ],
)
def test_what_no_test_notices_is_not_called_caught(
    mutants: ModuleType, small_tree: Path, more: dict[str, Any], told: str
) -> None:
    verdict = mutants.judge(small_tree, bug(mutants, **more))
    assert not verdict.caught and told in verdict.by


def test_a_name_that_is_not_in_the_list_ends_with_2(mutants: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert mutants.main(["no-such-bug"]) == 2
    assert "plain-union" in capsys.readouterr().out
