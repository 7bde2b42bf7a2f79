"""How many examples a property test draws."""

from __future__ import annotations

import os

#: Percent of the number that a test names: ``OUTBOUND_TEST_EXAMPLES=100`` draws them all.
PERCENT = int(os.environ.get("OUTBOUND_TEST_EXAMPLES") or 25)


def examples(count: int) -> int:
    """The number of examples to draw, of ``count`` when a test is run at length."""
    return max(10, count * PERCENT // 100)
