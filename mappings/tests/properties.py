"""How many cases the property tests try, in one place.

Together more than 20,000 in every run (pytest --hypothesis-show-statistics counts them). The root's conftest.py makes
them the same in every run.
"""

from __future__ import annotations

from hypothesis import settings

# A case of the merge is one field: microseconds to decide, and most of its situations need four values that fit each
# other by chance, so these laws get the most.
MERGE = 700
# A case of the plan is a link of three fields, decided up to four times.
PLAN = 400
# Per lens or pair of formats, of which there are dozens; a lens that breaks its laws does so within some tens.
LENS = 80
# Documents are large: reading, writing and patching one takes milliseconds, pairs of
# them between two formats tens of milliseconds.
DOCUMENTS = 60
DOCUMENT_PAIRS = 20


def cases(number: int) -> settings:
    """Try so many cases; everything else is the suite's profile."""
    return settings(max_examples=number)
