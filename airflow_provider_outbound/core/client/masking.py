"""
What of an answer may be stored where people and logs see it.

An answer of any action may hold numbers, names, transcripts, signed URLs and keys, and no list of fields is complete.
So every text is masked, except identifiers and times that contain no number.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_outbound.core.models.phone import holds_number, mask, redact

_HIDDEN_TEXT = "***"
#: Fields with personal data or with what was said.
_PERSONAL = frozenset(
    {"ContactName", "Conversation", "Conversations", "Extras", "Honorific", "Remark", "Utterance", "Utterances"}
)
#: Objects that are a person, and their fields with personal data. Scripts and groups have a Name too, which is shown.
_PERSONS = frozenset({"Contact", "Contacts", "ContactBlockLists", "ContactBlockList", "ContactWhiteLists"})
_OF_PERSONS = frozenset({"Name", "Role", "Creator"})
_SECRET = re.compile(r"signature|secret|password|policy|(?<!next)token|access|(?:app|agent)key", re.IGNORECASE)
_NUMBER = re.compile(r"(?:Phone|Called|Calling)\w*|Numbers?")
_IDENTIFIER = re.compile(r"\w*(?:Ids?|Uuids?|Time)")
_URL_QUERY = re.compile(r"(\w+://[^\s?#]*)[?#]\S*")


def masked_answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return an answer without numbers, personal data, secrets and the queries of URLs, which may be signatures.

    Identifiers, times, counts and statuses stay, so that later tasks can use them.
    """
    return {redact(name): _masked(name, value, is_person=False) for name, value in answer.items()}


def _masked(name: str, value: Any, *, is_person: bool) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if name in _PERSONAL or (is_person and name in _OF_PERSONS) or _SECRET.search(name):
        return _HIDDEN_TEXT
    if isinstance(value, Mapping):
        of_person = name in _PERSONS
        return {redact(str(key)): _masked(str(key), item, is_person=of_person) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(name, item, is_person=is_person) for item in value]
    if _NUMBER.fullmatch(name):
        return mask(value)
    if isinstance(value, int | float):
        return mask(value) if holds_number(f"{value:.0f}") else value
    return _masked_text(name, str(value))


def _masked_text(name: str, text: str) -> str:
    if _IDENTIFIER.fullmatch(name) and "://" not in text and not holds_number(text):
        return text
    if text.lstrip()[:1] in ("[", "{"):
        try:
            inside = json.loads(text)
        except (ValueError, RecursionError):
            inside = None
        if inside is not None:
            return json.dumps(_masked(name, inside, is_person=name in _PERSONS), ensure_ascii=False)
    return redact(_URL_QUERY.sub(rf"\1?{_HIDDEN_TEXT}", text))
