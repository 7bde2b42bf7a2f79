"""Every module and every function of the package is short enough to be read in one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import airflow_provider_outbound

PACKAGE = Path(airflow_provider_outbound.__file__).parent
MOST_LINES_OF_A_MODULE = 400
MOST_LINES_OF_A_FUNCTION = 50
#: Modules and functions that are longer, each with the reason.
LONGER: Mapping[str, str] = {
    "core/ledger/migrations/versions/0001_first_ledger.py:upgrade": "a released migration never changes",
    "operators/assign.py:OutboundBotAssignJobsOperator.__init__": "it lists the operator's arguments, and assigns",
}


def measured(name: str, text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the name of a module and of each of its functions, its lines, and how many it may have."""
    yield name, len(text.splitlines()), MOST_LINES_OF_A_MODULE
    for function, lines in functions(ast.parse(text), ()):
        yield f"{name}:{function}", lines, MOST_LINES_OF_A_FUNCTION


def functions(node: ast.AST, path: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        inside = path
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inside = (*path, child.name)
            if not isinstance(child, ast.ClassDef):
                assert child.end_lineno is not None
                yield ".".join(inside), child.end_lineno - child.lineno + 1
        yield from functions(child, inside)


def test_modules_and_functions_are_short() -> None:
    """The list of exceptions is exact: an entry that is not needed must go."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith("example_dags/"):  # a copy, in a built package
            continue
        for place, lines, most in measured(name, path.read_text()):
            if lines > most:
                found[place] = f"{lines} lines; at most {most}"

    assert {place: size for place, size in found.items() if place not in LONGER} == {}
    assert set(LONGER) == set(found)


@pytest.mark.parametrize(
    ("text", "too_long"),
    [
        pytest.param("x = 1\n" * 400, [], id="module-at-the-limit"),
        pytest.param("x = 1\n" * 401, ["m.py"], id="module"),
        pytest.param("def f():\n" + "    x = 1\n" * 49, [], id="function-at-the-limit"),
        pytest.param("def f():\n" + "    x = 1\n" * 50, ["m.py:f"], id="function"),
        pytest.param("class C:\n    async def f(self):\n" + "        x = 1\n" * 50, ["m.py:C.f"], id="method"),
    ],
)
def test_what_counts_as_long(text: str, too_long: list[str]) -> None:
    assert [place for place, lines, most in measured("m.py", text) if lines > most] == too_long
