"""Helpers of several benchmarks."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

#: The ledger's key, for benchmarks only.
KEY = "YmVuY2htYXJrLW9ubHkta2V5LW9mLTMyLWJ5dGVzISE="

A = TypeVar("A")
T = TypeVar("T")


def in_own_process(measure: Callable[[A], T], what: A) -> T:
    """Measure in a separate process, so that no earlier measurement has left anything in memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, what).result()


def say(text: str) -> None:
    """Report progress on standard error."""
    print(text, file=sys.stderr, flush=True)
