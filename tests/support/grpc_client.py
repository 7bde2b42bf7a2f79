"""Apache's RocketMQ client as tests use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def once_started(request: Callable[[], T]) -> T:
    """Make a request; the races of the library's start, for the settings and for the route, are waited out."""
    for _ in range(100):
        try:
            return request()
        except Exception as error:
            if "settings" not in str(error) and "route" not in str(error):
                raise
            time.sleep(0.1)
    raise AssertionError("the settings or the route never arrived")
