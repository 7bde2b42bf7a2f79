"""The modules as text: both languages say the same, and nothing is fetched from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import airflow_provider_outbound

STATIC = Path(airflow_provider_outbound.__file__).parent / "page" / "static"
MODULES = sorted(STATIC.glob("*.js"))


def _sentences(name: str) -> list[tuple[str, set[str]]]:
    """Keys in order, each with the places that are filled in."""
    found = re.findall(r"(\w+):\s+\"([^\"]*)\"", (STATIC / name).read_text(encoding="utf-8"))
    return [(key, set(re.findall(r"\{\w+\}", sentence))) for key, sentence in found]


def test_both_languages_have_the_same_sentences_with_the_same_values() -> None:
    english, chinese = _sentences("text_en.js"), _sentences("text_zh.js")
    assert len(english) > 200
    assert english == chinese


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_imports_its_neighbours_and_nothing_else(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    imported = re.findall(r"(?:^import [^;]* from |import\()\"([^\"]+)\"", text, re.MULTILINE)
    assert [name for name in imported if not (name.startswith("./") and (STATIC / name).is_file())] == []
    assert "://" not in text


@pytest.mark.parametrize(
    "path", [path for path in MODULES if not path.name.startswith("text")], ids=lambda path: path.name
)
def test_each_sentence_that_a_module_names_exists(path: Path) -> None:
    known = {key for key, _ in _sentences("text_en.js")} | {"weekday"}
    used = re.findall(r"\bt\(\s*\"(\w+)\"", path.read_text(encoding="utf-8"))
    assert [key for key in used if key not in known] == []
