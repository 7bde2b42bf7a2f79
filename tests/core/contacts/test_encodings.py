"""A file in another encoding than the one that is named is refused: nobody hears a name that is not theirs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from airflow_provider_outbound.core.contacts import from_path, read_excluded
from airflow_provider_outbound.exceptions import OutboundBotContactsError

NUMBER = "13800000000"
#: The characters of GB2312, in which nearly all Chinese names are written.
CHARACTERS = [
    character
    for lead in range(0xB0, 0xF8)
    for trail in range(0xA1, 0xFF)
    if (character := bytes((lead, trail)).decode("gb2312", "ignore"))
]
NAMES = st.lists(st.text(st.sampled_from(CHARACTERS), min_size=2, max_size=4), min_size=1, max_size=20)


def write(folder, names, encoding):
    path = folder / "people.csv"
    path.write_bytes("\n".join(["手机号,姓名", *(f"{NUMBER},{name}" for name in names)]).encode(encoding))
    return path


@settings(max_examples=examples(200), deadline=None)
@given(NAMES, st.sampled_from(["gb18030", "gbk", "GB2312", "big5", "latin-1", "cp1252"]))
def test_utf8_is_not_read_as_another_encoding(tmp_path_factory, names, encoding):
    path = write(tmp_path_factory.mktemp("people"), names, "utf-8")

    with pytest.raises(OutboundBotContactsError, match=r"is UTF-8 text, not .*; omit encoding"):
        list(from_path(path, encoding=encoding))


@settings(max_examples=examples(400), deadline=None)
@given(NAMES, st.sampled_from(["gb18030", "gbk", "gb2312"]))
def test_chinese_encodings_are_read_as_such(tmp_path_factory, names, encoding):
    path = write(tmp_path_factory.mktemp("people"), names, encoding)

    assert [contact.name for contact in from_path(path, encoding=encoding)] == names


@pytest.mark.parametrize(
    ("written", "named", "words"),
    [
        ("gb18030", "utf-8-sig", "exclude_encoding='gb18030'"),
        ("utf-8", "gb18030", "pass exclude_encoding='utf-8'"),
        ("utf-8-sig", "gb18030", "pass exclude_encoding='utf-8'"),
        ("utf-16", "utf-8-sig", "pass exclude_encoding='utf-16'"),
        ("utf-8", "utf-16", "pass exclude_encoding='utf-8'"),
    ],
)
def test_advice_for_a_do_not_call_list_leaves_the_encoding_of_the_contacts(tmp_path, written, named, words):
    path = write(tmp_path, ["李宁", "王伟"], written)

    with pytest.raises(OutboundBotContactsError, match=words):
        read_excluded(from_path(path, encoding=named, label="exclude_path"), "exclude_path")
