"""The documentation builds without a warning, and what it shows runs: Python, commands, JSON, YAML, links."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from airflow_provider_outbound.cli import _parser

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("docs/zh/*.md"))
)
_BLOCK = re.compile(
    r"(?:<!-- setup: (?P<setup>[\w, ]+) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL
)
#: Commands that a test of its own runs (the README's two), or that change the machine they are run on.
_ELSEWHERE = (
    "airflow roles",
    "python3 -m venv",
    "pip install",
    "export ",
    ".venv/bin/python -m build",
    'python -c "from cryptography',
)
_COMMAND = re.compile(r"`(outbound [a-z][^`\n]*)`")


def _blocks(page: str, *languages: str) -> list[re.Match[str]]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [block for block in _BLOCK.finditer(text) if block["language"] in languages]


def _pages_with(*languages: str) -> list[str]:
    return [page for page in PAGES if _blocks(page, *languages)]


def test_the_documentation_builds_without_a_warning(tmp_path: Path) -> None:
    build = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-d",
        tmp_path / "trees",
        ROOT / "docs",
        tmp_path,
    ]

    done = subprocess.run([str(word) for word in build], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "zh" / "first-hour.html").is_file()


@pytest.mark.parametrize("page", _pages_with("python"))
def test_the_python_of_a_page_runs(page: str) -> None:
    for block in _blocks(page, "python"):
        names: dict[str, Any] = {name.strip(): _Group() for name in (block["setup"] or "").split(",")}

        exec(
            compile(block["code"], page, "exec"), names
        )  # an import that fails or an argument that is refused fails here


class _Group:
    """Stands for a task of which a fragment uses the output."""

    output = "g1"


@pytest.mark.parametrize("page", _pages_with("json"))
def test_the_json_of_a_page_is_json(page: str) -> None:
    for block in _blocks(page, "json"):
        json.loads(block["code"])


@pytest.mark.parametrize("page", _pages_with("yaml", "ini"))
def test_the_files_of_a_page_can_be_read(page: str) -> None:
    for block in _blocks(page, "yaml"):
        assert yaml.safe_load(block["code"])
    for block in _blocks(page, "ini"):
        configparser.ConfigParser().read_string(block["code"])


def _commands(page: str) -> list[str]:
    """Return each ``outbound`` command that a page shows, in a block or inside a sentence."""
    shown = [line for block in _blocks(page, "sh") for line in block["code"].splitlines()]
    inline = _COMMAND.findall((ROOT / page).read_text(encoding="utf-8"))
    return [command.partition("  #")[0].partition(" < ")[0].strip() for command in (*shown, *inline)]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_exists(page: str) -> None:
    for command in _commands(page):
        program, *arguments = shlex.split(re.sub(r"(--[\w-]+) …", r"\1 x", command).replace("…", ""))
        if command.startswith(_ELSEWHERE) or program.startswith(".venv/bin/"):
            continue
        assert program == "outbound", command
        if arguments and not _is_prefix(arguments):
            _parser().parse_args(arguments)


def _is_prefix(arguments: list[str]) -> bool:
    """Whether only a command is named, for which the reader has to fill in the rest."""
    return len(arguments) == 1 or (arguments[0] == "ledger" and len(arguments) <= 3 and "--" not in arguments[-1])


def test_every_figure_names_a_command_that_exists() -> None:
    from benchmarks.__main__ import _parser as benchmarks

    text = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:4] for line in text.splitlines() if line.startswith("| ")][1:]
    command = ""
    for what, _, repeated in rows:
        (code,) = re.findall(r"`([^`]+)`", repeated) or [""]
        command = f"{command} {code}".strip() if "the same" in repeated else code
        program, *arguments = shlex.split(re.sub(r"(--[\w-]+) …", r"\1 x", command)) or [""]
        match program, arguments:
            case "python", ["tests/benchmarks", *options]:
                benchmarks().parse_args(options)
            case "pytest", _:
                assert [name for name in arguments if name.startswith("tests/") and not (ROOT / name).exists()] == []
            case _:
                assert "it prints" in repeated or arguments[:1] == ["-X"], what


def _leads_somewhere(page: Path, link: str) -> bool:
    """Whether the file of a link exists, and the heading that its anchor names, as GitHub and MyST write anchors."""
    name, _, anchor = link.partition("#")
    path = page.parent / name if name else page
    if not anchor or path.suffix != ".md":
        return path.exists()
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ +(.*?) *$", text, re.MULTILINE)
    named = re.findall(r"^\((.*)\)=$", text, re.MULTILINE)
    return anchor in named or anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_no_link_of_a_page_is_dead(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)", text)

    assert [link for link in links if "://" not in link and not _leads_somewhere(ROOT / page, link)] == []
    assert [link for link in links if "://" in link and not link.startswith("https://")] == []


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 8192
    assert len((ROOT / "README.zh-CN.md").read_bytes()) <= 8192


def test_both_languages_have_the_same_code() -> None:
    for page in sorted((ROOT / "docs" / "zh").glob("*.md")):
        english = {block["code"] for block in _blocks(f"docs/{page.name}", "python", "json")}
        if page.name == "results.md":
            english |= {block["code"] for block in _blocks("docs/follow-ups.md", "python")}

        chinese = {block["code"] for block in _blocks(f"docs/zh/{page.name}", "python", "json")}

        assert chinese <= english, page
