"""A file in another encoding than the one that is named is refused: nobody hears a name that is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.rows import as_contact, as_contacts

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


def write(folder: Path, names: list[str], encoding: str, *, header: str = "手机号,姓名") -> Path:
    path = folder / "people.csv"
    path.write_bytes("\n".join([header, *(f"{NUMBER},{name}" for name in names)]).encode(encoding))
    return path


@settings(max_examples=examples(200), deadline=None)
@given(NAMES, st.sampled_from(["gb18030", "gbk", "GB2312", "big5", "latin-1", "cp1252"]))
def test_utf8_is_not_read_as_another_encoding(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], encoding: str
) -> None:
    path = write(tmp_path_factory.mktemp("people"), names, "utf-8")

    with pytest.raises(OutboundBotContactsError, match=r"is UTF-8 text, not .*; omit encoding"):
        list(from_path(path, encoding=encoding))


@settings(max_examples=examples(400), deadline=None)
@given(NAMES, st.sampled_from(["gb18030", "gbk", "gb2312"]))
def test_chinese_encodings_are_read_as_such(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], encoding: str
) -> None:
    path = write(tmp_path_factory.mktemp("people"), names, encoding)

    assert [contact.name for contact in as_contacts(from_path(path, encoding=encoding))] == names


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
def test_advice_for_a_do_not_call_list_leaves_the_encoding_of_the_contacts(
    tmp_path: Path, written: str, named: str, words: str
) -> None:
    path = write(tmp_path, ["李宁", "王伟"], written)

    with pytest.raises(OutboundBotContactsError, match=words):
        read_excluded(from_path(path, encoding=named, label="exclude_path"), "exclude_path")


#: The common characters of Big5, in the order of the code.
BIG5 = [
    character
    for lead in range(0xA4, 0xC6)
    for trail in (*range(0x40, 0x7F), *range(0xA1, 0xFF))
    if (character := bytes((lead, trail)).decode("big5", "ignore"))
]
#: Characters of GB2312 whose two bytes are a letter in UTF-8 too.
LUCKY = [character for character in CHARACTERS if len(character.encode("gb2312").decode("utf-8", "ignore")) == 1]


def characters(names: list[str]) -> set[str]:
    return {character for name in names for character in name}


@settings(max_examples=examples(200), deadline=None)
@given(NAMES.filter(lambda names: len(characters(names)) >= 6), st.sampled_from(["big5", "cp950", "big5hkscs"]))
def test_gb18030_is_not_read_as_big5(tmp_path_factory: pytest.TempPathFactory, names: list[str], encoding: str) -> None:
    path = write(tmp_path_factory.mktemp("people"), names, "gb18030", header="phone,name")

    with pytest.raises(OutboundBotContactsError, match=r"seems to be in encoding 'gb18030'.*encoding='gb18030'"):
        list(from_path(path, encoding=encoding))


@settings(max_examples=examples(200), deadline=None)
@given(NAMES, st.sampled_from(["latin-1", "cp1252", "iso8859-15"]), st.sampled_from(["gb18030", "big5"]))
def test_chinese_is_not_read_as_a_western_encoding(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], encoding: str, written: str
) -> None:
    names = names if written == "gb18030" else ["陳大文", "林志玲"]
    path = write(tmp_path_factory.mktemp("people"), names, written, header="phone,name")

    with pytest.raises(OutboundBotContactsError, match=f"seems to be in encoding '{written}'"):
        list(from_path(path, encoding=encoding))


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.text(st.sampled_from(BIG5), min_size=2, max_size=4), max_size=20))
def test_big5_is_read_as_such_and_not_as_gb18030(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    # One of the most frequent surnames, whose second byte is none of GB2312.
    names = ["林志玲", *names]
    path = write(tmp_path_factory.mktemp("people"), names, "big5", header="phone,name")

    assert [contact.name for contact in as_contacts(from_path(path, encoding="big5"))] == names
    with pytest.raises(OutboundBotContactsError, match="seems to be in encoding 'big5'"):
        list(from_path(path, encoding="gb18030"))


@settings(max_examples=examples(100), deadline=None)
@given(st.text(st.sampled_from(LUCKY), min_size=2, max_size=3).filter(lambda name: len(set(name)) > 1))
def test_a_short_file_that_is_utf8_by_chance_is_refused(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("people")

    with pytest.raises(OutboundBotContactsError, match="seems to be in encoding 'gb18030'"):
        list(from_path(write(folder, [name], "gb18030", header="phone,name")))
    for encoding in ("gb18030", "utf-8", "utf-8-sig"):
        (contact,) = from_path(
            write(folder, [name], encoding, header="phone,name"), encoding=encoding.replace("-sig", "")
        )
        assert as_contact(contact).name == name


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize("name", ["José Conceição", "Jürgen Müßig", "Ángel", "Zoë"])
def test_western_names_are_read(tmp_path: Path, name: str, encoding: str) -> None:
    path = write(tmp_path, [name], encoding, header="phone,name")

    assert [contact.name for contact in as_contacts(from_path(path, encoding=encoding))] == [name]


@pytest.mark.parametrize("name", ["Семен Иванов", "Γιώργος", "محمد", "יוסי", "김철수", "さくら"])
def test_other_scripts_are_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, [name], "utf-8", header="phone,name")

    assert [contact.name for contact in as_contacts(from_path(path))] == [name]


def test_text_that_begins_late_is_recognised(tmp_path: Path) -> None:
    """Behind the first 4 KiB, which is as much as one looks at first."""
    path = write(tmp_path, [*["Li"] * 300, "李宁", "王伟"], "utf-8", header="phone,name")

    with pytest.raises(OutboundBotContactsError, match="is UTF-8 text"):
        list(from_path(path, encoding="gb18030"))
