"""The contract suite: what every connector promises, tested without a word about any vendor.

A connector's test subclasses `ConnectorContract` (`HttpContract` where the system is reached over HTTP) and gives a
fixture `vendor` that yields its `Vendor`. `ChildrenContract`, with a `ChildVendor`, is about one object type whose
records belong to others. Where a connector truthfully lacks a capability, the same test asserts what follows from the
lack; none is skipped.
"""

from __future__ import annotations

from connections.tests.contract_children import ChildrenContract, ChildVendor
from connections.tests.contract_reading import ReadingContract
from connections.tests.contract_telling import TellingContract
from connections.tests.contract_vendor import Person, Sample, Vendor, WiredVendor
from connections.tests.contract_wire import WireContract
from connections.tests.contract_writing import WritingContract

__all__ = [
    "ChildVendor",
    "ChildrenContract",
    "ConnectorContract",
    "HttpContract",
    "Person",
    "Sample",
    "Vendor",
    "WiredVendor",
]


class ConnectorContract(ReadingContract, WritingContract, TellingContract):
    """Every promise of `connections.connectors.base`."""


class HttpContract(ConnectorContract, WireContract):
    """And those about answers that do not come, or are none."""
