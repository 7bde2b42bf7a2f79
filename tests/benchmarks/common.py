"""What several benchmarks use."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

#: What a task in a worker would have: a key of its own, made for such runs.
KEY = "YmVuY2htYXJrLW9ubHkta2V5LW9mLTMyLWJ5dGVzISE="

A = TypeVar("A")
T = TypeVar("T")


def in_own_process(measure: Callable[[A], T], what: A) -> T:
    """Measure in a process of its own, so that nothing of an earlier measurement is left in memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, what).result()


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)
