"""The transform table: every transform a rule can name."""

from mappings.transforms.base import FieldSpec, Transform
from mappings.transforms.people import PERSON
from mappings.transforms.rich_text import RICH_TEXT
from mappings.transforms.sets import SET
from mappings.transforms.times import DATE_TIME
from mappings.transforms.values import BOOLEAN, NUMBER, SAME, TEXT_LIMITED, VALUE_MAP

TRANSFORMS: dict[str, Transform] = {
    transform.name: transform
    for transform in (
        SAME,
        VALUE_MAP,
        BOOLEAN,
        NUMBER,
        DATE_TIME,
        TEXT_LIMITED,
        RICH_TEXT,
        SET,
        PERSON,
    )
}


def fitting(left_kind: str, right_kind: str) -> list[Transform]:
    """The transforms that can join fields of these two kinds, in the order the editor lists them."""
    return [
        transform
        for transform in TRANSFORMS.values()
        if (left_kind, right_kind) in transform.kinds or ("*", "*") in transform.kinds
    ]


# Which transform suits a kind of field, the most telling kind first.
_BY_KIND = (
    ("rich_text", "rich_text"),
    ("set", "set"),
    ("person", "person"),
    ("date", "date_time"),
    ("datetime", "date_time"),
    ("boolean", "boolean"),
    ("number", "number"),
)


def suggested(left: FieldSpec, right: FieldSpec) -> str:
    """The name of the transform that suits the two fields best; "same" where none fits."""
    names = [transform.name for transform in fitting(left.kind, right.kind)]
    for kind, name in _BY_KIND:
        if kind in (left.kind, right.kind) and name in names:
            return name
    if left.kind == right.kind == "text" and left.max_length != right.max_length:
        return "text_limited"
    offers = set(left.options), set(right.options)
    if "value_map" in names and any(offers) and offers[0] != offers[1]:
        return "value_map"
    return names[0] if names else "same"
