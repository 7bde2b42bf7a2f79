"""
Templates of arguments that select files, tables or rows: each ``{{ … }}`` in one must give a value.

Without a value they select something else: of ``/lists/{{ params.file }}``, the folder is left, with everybody in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import OutboundBotConfigError

if TYPE_CHECKING:
    import jinja2

_INNER = r"(?:(?!\{\{|\}\}).)*"
_ONE_EXPRESSION = re.compile(rf"\s*\{{\{{{_INNER}\}}\}}\s*", re.DOTALL)
_LAST_EXPRESSION = re.compile(rf"\{{\{{({_INNER})\}}\}}\s*\Z", re.DOTALL)
#: What puts several texts together within one expression, so that one of them may be empty.
_COMPOSED = re.compile(r"[~+%]|\b(?:format|join|replace)\b")
#: The word None within a path or a name, as Jinja writes a value that is missing.
_NONE = re.compile(r"(?<![A-Za-z])None(?![A-Za-z])")
#: How much of a template an error shows.
_SHOWN = 120


def render_complete(
    render: Callable[[jinja2.Environment], Any],
    template: str,
    env: jinja2.Environment,
    *,
    field: str,
    may_be_nothing: bool,
    ending: str,
) -> Any:
    """
    Render a template of which each expression must give a value.

    :param render: Renders it with an environment.
    :param field: Name of the argument, for errors.
    :param may_be_nothing: Whether a template that is one expression may give nothing: the argument's reader decides.
    :param ending: How errors end.
    :raises OutboundBotConfigError: an expression gives None, nothing or an undefined variable, or what is rendered is a
        folder by chance.
    """
    from jinja2 import UndefinedError

    before = env.finalize
    is_whole = may_be_nothing and _ONE_EXPRESSION.fullmatch(template) is not None

    def finalize(value: Any) -> Any:
        given = value if before is None else before(value)
        if _is_nothing(given) and not is_whole:
            raise _refusal(field, template, "an expression in its template gives None or nothing", ending)
        return given

    try:
        # Templates in a cache of bytecode were compiled without this check.
        rendered = render(env.overlay(finalize=finalize, bytecode_cache=None))
    except UndefinedError as error:
        raise _refusal(field, template, f"{error} (so is ds in a run without a logical date)", ending) from None
    if is_whole and _is_nothing(rendered):
        return rendered
    if not field.endswith("_sql") and _NONE.search(str(rendered)) and not _NONE.search(template):
        raise _refusal(field, template, "its template gives a text with None in it", ending)
    if field.endswith("path") and str(rendered).endswith("/") and not _ends_as_meant(template):
        problem = "its template gives a folder, perhaps because a part of it is empty (to mean a folder, end it with /)"
        raise _refusal(field, template, problem, ending)
    return rendered


def _is_nothing(value: Any) -> bool:
    return str(value).strip() in ("", "None")


def _ends_as_meant(template: str) -> bool:
    """Return whether a slash at the end of what is rendered was written there: in the template, or in a value."""
    if template.rstrip().endswith("/"):
        return True
    last = _LAST_EXPRESSION.search(template)
    return last is not None and not _COMPOSED.search(last[1])


def _refusal(field: str, template: str, problem: str, ending: str) -> OutboundBotConfigError:
    shown = " ".join(template.split())
    shown = redact(shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…")
    return OutboundBotConfigError(
        f"{field}: {problem}: {shown}; give each expression a value, and put what may be left out between {{% if … %}}"
        f" and {{% endif %}}. {ending}"
    )
