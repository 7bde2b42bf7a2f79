"""What the documents for developers name exists: files, modules, functions, methods, columns of the ledger."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from functools import cache
from pathlib import Path

import pytest

from airflow_provider_outbound.core.ledger import schema

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "airflow_provider_outbound"
DOCUMENTS = ["docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md"]

_MERMAID = re.compile(r"^```mermaid\n(.*?)^```", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"\.?[\w-]+(/[\w.-]+)+|[\w-]+\.(py|md|toml|txt)")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.\w+)+")
_LINK = re.compile(r"\]\(([^)#:\s]+)(#[^)]*)?\)")


def _codes(text: str) -> set[str]:
    """What is written as code in a line of text, and the dotted names in pictures."""
    pictures = " ".join(_MERMAID.findall(text))
    inline = re.findall(r"`([^`\n]+)`", _BLOCK.sub("", text))
    return {*inline, *(found.group() for found in _DOTTED.finditer(pictures))}


@cache
def _names(module: Path) -> frozenset[str]:
    """What a module defines or imports, and ``Class.attribute`` for what its classes define."""
    names: set[str] = set()
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        names |= _defined(node)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{name}" for part in node.body for name in _defined(part)}
    return frozenset(names)


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    if isinstance(node, ast.If):  # TYPE_CHECKING
        return {name for part in node.body for name in _defined(part)}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _exists(name: str) -> bool:
    """Whether a dotted name is a module of the package, or something in one, in a class or in a table."""
    parts = name.split(".")
    if parts[0] in sys.stdlib_module_names:
        return hasattr(importlib.import_module(parts[0]), parts[1])
    if parts[0] in schema.metadata.tables:
        return len(parts) == 2 and parts[1] in schema.metadata.tables[parts[0]].c
    for length in range(len(parts), 0, -1):
        path = PACKAGE.joinpath(*parts[:length])
        for module in (path.with_suffix(".py"), path / "__init__.py"):
            if module.is_file():
                return length == len(parts) or ".".join(parts[length:]) in _names(module)
    return any(name in _names(module) for module in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    files = {code for code in _codes(text) if _FILE.fullmatch(code)}
    links = {(ROOT / document).parent / link for link, _ in _LINK.findall(_BLOCK.sub("", text))}

    missing = sorted({name for name in files if not (ROOT / name).exists()} | {str(x) for x in links if not x.exists()})

    assert files | links, "nothing was found to check"
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_dotted_name_that_a_document_writes_as_code_exists(document: str) -> None:
    codes = _codes((ROOT / document).read_text(encoding="utf-8"))
    names = {code.removesuffix("()") for code in codes if not _FILE.fullmatch(code)}

    unknown = sorted(name for name in names if _DOTTED.fullmatch(name) and not _exists(name))

    assert unknown == []


def test_every_table_of_the_ledger_is_explained() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

    explained = set(re.findall(r"^\| `(\w+)` \|", text.partition("## The ledger")[2], re.MULTILINE))

    assert set(schema.metadata.tables) - explained == set()
