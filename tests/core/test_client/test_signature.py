"""Our signature and the SDK's."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import pytest
from aliyunsdkcore.utils import parameter_helper
from aliyunsdkoutboundbot.request.v20191226.AssignJobsRequest import AssignJobsRequest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.client.credentials import signed_query

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(TEXTS, min_size=1, max_size=4), TEXTS, st.sampled_from(["cn-shanghai", "cn-hangzhou"]))
@settings(max_examples=examples(200), deadline=None)
def test_a_request_is_signed_as_the_sdk_signs_it(jobs: Any, group: Any, region: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # What differs from one call to the next.
        patch.setattr(parameter_helper, "get_uuid", lambda: "nonce")
        patch.setattr(parameter_helper, "get_iso_8061_date", lambda: "2026-11-24T00:00:00Z")
        ours, theirs = AssignJobsRequest(), AssignJobsRequest()
        for request in (ours, theirs):
            request.set_JobGroupId(group)
            request.set_JobsJsons(jobs)

        url = "/?" + signed_query(ours, region, "key", "secret")
        expected = theirs.get_url(region, "key", "secret")

    assert ours.string_to_sign == theirs.string_to_sign
    assert _parameters(url) == _parameters(expected)
    assert len(url) <= len(expected)


def _parameters(url: str) -> dict[str, str]:
    path, _, query = url.partition("?")
    assert path == "/"
    return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True))
