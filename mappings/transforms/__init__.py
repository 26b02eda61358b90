"""The transform table: every transform a rule can name."""

from mappings.transforms.base import Transform
from mappings.transforms.values import SAME

TRANSFORMS: dict[str, Transform] = {transform.name: transform for transform in (SAME,)}
