"""What the docs name must be there: links, tests, files, settings, dependencies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
APPS = ("connections", "mappings", "sync", "syncadmin")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
# Found by Django or Python by their names; a table row would say nothing.
PLUMBING = {"__init__.py", "apps.py", "urls.py", "wsgi.py"}


def anchors(page: Path) -> set[str]:
    """The addresses of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text()):
        if target.startswith("http"):
            continue
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), f"{target}#{anchor}"


@pytest.mark.parametrize("page", ["architecture.md", "guarantees.md"])
def test_every_test_that_is_named_is_there(page):
    files = [path for app in APPS for path in (ROOT / app / "tests").glob("*.py")]
    code, whole = "\n".join(path.read_text() for path in files), {path.stem for path in files}
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / page).read_text()))
    assert named
    assert {name for name in named - whole if f"def {name}(" not in code} == set()


@pytest.mark.parametrize("app", APPS)
def test_the_map_names_every_file_of_an_app(app):
    files = {path.name for path in (ROOT / app).glob("*.py")} - PLUMBING
    assert {name for name in files if f"`{name}`" not in ARCHITECTURE} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_by_its_path_is_there(page):
    for path in re.findall(rf"`((?:{'|'.join(APPS)})/[\w/]+\.py)`", page.read_text()):
        assert (ROOT / path).exists(), path


def test_every_setting_is_explained_in_the_example_and_for_those_who_operate():
    settings = (ROOT / "syncadmin" / "settings.py").read_text()
    wanted = set(re.findall(r"env(?:\.\w+)?\(\"([A-Z_]+)\"", settings))
    assert len(wanted) > 10
    for page in (".env.example", "docs/operations.md"):
        text = (ROOT / page).read_text()
        assert {name for name in wanted if name not in text} == set(), page


def test_every_dependency_has_its_reason():
    reasons = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text().lower()
    for name in ("requirements.in", "requirements-dev.in"):
        lines = (ROOT / name).read_text().lower().splitlines()
        packages = {re.split(r"[=\[]", line)[0] for line in lines if line and line[0].isalnum()}
        # Types come with the package they are of.
        asked = {package for package in packages if not package.startswith("types-")}
        assert {package for package in asked if package not in reasons} == set()
