"""A rule of a connection whose name is misspelt is not dropped: nobody is called against it."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.exceptions import OutboundBotConfigError
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook

RULES = {
    "calling_hours": {"windows": [["09:00", "20:00"]]},
    "dry_run": True,
    "allowed_phone_numbers": [],
}


def hook(extra: dict[str, Any], *, may_call: bool = True) -> OutboundBotHook:
    value = json.dumps({"conn_type": "outboundbot", "login": "a-key-id", "password": "a-secret", "extra": extra})
    with patch.dict("os.environ", {"AIRFLOW_CONN_OUTBOUNDBOT_DEFAULT": value}):
        made = OutboundBotHook()
        made.may_call = may_call
        _ = made.settings
    return made


@st.composite
def misspelt(draw: st.DrawFn) -> tuple[str, str]:
    """A rule's name with another case, other separators, or one letter added, left out or replaced."""
    name = draw(st.sampled_from(sorted(RULES)))
    place = draw(st.integers(0, len(name) - 1))
    letter = draw(st.sampled_from("aehstu"))
    written = draw(
        st.sampled_from(
            [
                name.upper(),
                name.title(),
                name.replace("_", ""),
                name.replace("_", "-"),
                name.replace("_", " "),
                f"extra__outboundbot__{name}",
                name[:place] + letter + name[place:],
                name[:place] + name[place + 1 :],
                f" {name} ",
            ]
        )
    )
    return name, written


@settings(max_examples=examples(200), deadline=None)
@given(misspelt())
def test_a_misspelt_rule_is_refused_where_people_might_be_called(names: tuple[str, str]) -> None:
    name, written = names
    if written == name:
        return

    with pytest.raises(
        OutboundBotConfigError, match=f"is unknown, so the rule in it would not apply; rename it to {name}"
    ) as refused:
        hook({written: RULES[name]})

    assert written in str(refused.value)
    # Stopping calls needs no rules.
    hook({written: RULES[name]}, may_call=False)


@pytest.mark.parametrize("inside", [{"windows": [["09:00", "20:00"]]}, None])
@pytest.mark.parametrize("written", ["holidays", "Holidays", "timezone", "time-zone", "extra__outboundbot__holidays"])
def test_a_part_of_the_calling_hours_that_is_written_beside_them_is_refused(written: str, inside: Any) -> None:
    """The hours would be those of another zone, or the holidays ordinary days."""
    extra = {written: ["2026-10-01"] if "olidays" in written else "Europe/Paris", "calling_hours": inside}

    with pytest.raises(OutboundBotConfigError, match=f"{written} is beside calling_hours.* write it inside"):
        hook(extra)
    hook(extra, may_call=False)


def test_a_zone_of_other_programs_is_no_mistake_if_the_hours_have_their_own() -> None:
    hours = {"timezone": "Europe/Paris", "windows": [["09:00", "20:00"]]}

    found = hook({"timezone": "Asia/Shanghai", "calling_hours": json.dumps(hours)}).calling_hours

    assert found is not None
    assert found.timezone.key == "Europe/Paris"


@pytest.mark.parametrize("name", ["note", "owner", "team", "region", "hours_of_support", "phone", "run"])
def test_other_fields_stay_a_warning(name: str) -> None:
    assert hook({name: "x"}).dry_run is False
