"""Rich text of any format against any other: the lens between two fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mappings.transforms.adf import ADF
from mappings.transforms.base import CannotExpress, FieldSpec, Lens, Put, Transform
from mappings.transforms.document import Format
from mappings.transforms.html import HTML
from mappings.transforms.markdown import MARKDOWN
from mappings.transforms.patch import patch_document
from mappings.transforms.plain import PLAIN

FORMATS: dict[str, Format] = {form.name: form for form in (ADF, PLAIN, HTML, MARKDOWN)}


def format_of(spec: FieldSpec) -> Format:
    """The format of a field; a text field holds plain text. Raises ValueError for one we cannot read."""
    name = spec.format or PLAIN.name
    if name not in FORMATS:
        raise ValueError(f"{spec.label} holds {name!r}, which SyncAdmin cannot read; it knows {', '.join(FORMATS)}.")
    return FORMATS[name]


def build_rich_text(
    params: Mapping[str, Any], left: FieldSpec, right: FieldSpec, entries: list[dict[str, Any]]
) -> Lens:
    ours, theirs = format_of(left), format_of(right)
    lossy = {
        f"to_{side}"
        for side, source, target in (("right", ours, theirs), ("left", theirs, ours))
        if (source.marks | source.atoms) - (target.marks | target.atoms)
    }
    return Lens(carrier(ours, theirs), carrier(theirs, ours), frozenset(lossy))


def carrier(source_format: Format, target_format: Format) -> Put:
    """Reads the source, and patches what it says into the old target."""

    def put(source: Any, old: Any, base: Any) -> Any:
        try:
            return convert(source, old)
        except RecursionError:  # nested thousands of levels deep: nobody wrote that by hand
            raise CannotExpress("nested_too_deeply") from None

    def convert(source: Any, old: Any) -> Any:
        wanted, there = source_format.read(source), target_format.read(old)
        # What the target already says, in its own words or in the source's, is no edit.
        if source == source_format.write(there):
            return old
        wanted_key = source_format.key(wanted)
        if source_format.key(there) == wanted_key or target_format.key(there) == target_format.key(wanted):
            return old
        if not wanted_key:
            return None
        if there.blocks and target_format is not PLAIN:
            patched = target_format.write(patch_document(there, wanted, source_format))
            if source_format.key(target_format.read(patched)) == wanted_key:
                return patched
        return target_format.write(wanted)

    return put


_KINDS = ("rich_text", "text")

RICH_TEXT = Transform(
    name="rich_text",
    label="Rich text",
    help="Converted between the two formats; an edit changes only the paragraphs that were edited.",
    build=build_rich_text,
    kinds=frozenset((a, b) for a in _KINDS for b in _KINDS),
)
