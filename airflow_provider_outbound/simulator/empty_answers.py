"""
Answers to the actions that the simulator does not simulate: of the right form, and empty.

``empty_answers.json`` has the payload of each, with the field names and types of the newer SDK's response models.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

#: Header of an answer to an action that had no effect.
HEADERS = {"X-Simulated": "no"}


@cache
def _answers() -> Mapping[str, dict[str, Any]]:
    answers: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return answers


def has_empty_answer(action: str) -> bool:
    """Whether the service has this action and the simulator does not simulate it."""
    return action in _answers()


def empty_answer(action: str) -> dict[str, Any]:
    """The answer to an action that is not simulated, which its message says too."""
    return copy.deepcopy(_answers()[action]) | {"Message": "The simulator does not simulate this action."}
