"""
Renders literals of a DAG file; values from a task, a file or a query are data and are never rendered.

Contacts are hidden from Airflow, so Airflow cannot do this itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from numbers import Number
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import BaseOperator, Context


#: Arguments for the source of contacts, one of which is required, and arguments for who must not be called.
SOURCES = ("contacts", "contacts_path", "contacts_sql", "contacts_table", "contacts_from")
EXCLUSIONS = ("exclude", "exclude_path")


#: Variables of Airflow's templates that are the same for all instances of a mapped task.
_OF_RUN = re.compile(
    r"conn|dag|dag_run|data_interval_(start|end)|ds(_nodash)?|logical_date|params|partition_(date|key)|prev_\w+|run_id"
    r"|task_instance_key_str|triggering_asset_events|ts(_nodash(_with_tz)?)?|var"
)


class NotGiven:
    """The default of an argument for which an explicit ``None``, e.g. from a mapped task, has another meaning."""

    def __repr__(self) -> str:
        return "NOT_GIVEN"


NOT_GIVEN = NotGiven()


def came_from_task(operator: BaseOperator, field: str, map_index: int | None) -> bool:
    """
    Return whether an argument of a mapped operator comes from a task, and not from the DAG file.

    The running operator has plain values, which do not show where they come from.
    """
    dag = operator.get_dag()
    mapped = dag.task_dict.get(operator.task_id) if dag is not None else None
    source = getattr(getattr(mapped, "expand_input", None), "value", None)
    if source is None or field in getattr(mapped, "partial_kwargs", ()):
        return False
    if isinstance(source, Mapping):  # .expand(contacts=…)
        return _is_reference(source.get(field))
    if isinstance(source, list | tuple):  # .expand_kwargs([{…}, task.output])
        return not isinstance(source[map_index or 0], Mapping)
    return True


def is_shared(operator: BaseOperator, field: str, value: Any, map_index: int | None, env: jinja2.Environment) -> bool:
    """
    Return whether all instances of a mapped task have the same value in an argument.

    It is no template then, or a template of what the whole DAG run has in common.

    :param value: The argument before it is rendered, which is no reference to a task's output.
    :param map_index: That of the running instance, which may also belong to a mapped task group.
    """
    from jinja2 import TemplateSyntaxError, meta

    if map_index is None or map_index < 0:
        return False
    try:
        used = meta.find_undeclared_variables(env.parse(str(value)))
    except TemplateSyntaxError:
        # Airflow says what is wrong with it when it renders it.
        return False
    if not all(map(_OF_RUN.fullmatch, used)):
        return False
    dag = operator.get_dag()
    mapped = dag.task_dict.get(operator.task_id) if dag is not None else None
    source = getattr(getattr(mapped, "expand_input", None), "value", None)
    if source is None:
        return True
    return field in getattr(mapped, "partial_kwargs", ()) and not ("params" in used and _maps_params(source))


def _maps_params(source: Any) -> bool:
    """Whether the instances of a mapped task may have parameters of their own, beside those of the DAG run."""
    if isinstance(source, Mapping):  # .expand(params=…)
        return "params" in source
    if isinstance(source, list | tuple):  # .expand_kwargs([{…}, task.output])
        return any(not isinstance(item, Mapping) or "params" in item for item in source)
    return True


def render_literal(value: Any, render: Callable[[str], Any], context: Context, env: jinja2.Environment) -> Any:
    """
    Render the texts in a value of the DAG file, recursively in lists, tuples, sets and dictionaries.

    Outputs of tasks in it are resolved and not rendered.

    :param render: Renders one text as Airflow does.
    """

    def walk(item: Any) -> Any:
        if isinstance(item, str):
            return _text(item, render, context, env)
        if _is_reference(item):
            return item.resolve(context)
        if isinstance(item, dict):
            return {key: walk(cell) for key, cell in item.items()}
        if isinstance(item, tuple) and hasattr(item, "_fields"):
            return type(item)(*map(walk, item))
        if type(item) in (list, tuple, set, frozenset):
            return type(item)(map(walk, item))
        return item

    return walk(value)


def _text(text: str, render: Callable[[str], Any], context: Context, env: jinja2.Environment) -> Any:
    marks = (env.variable_start_string, env.block_start_string, env.comment_start_string)
    if not any(mark in text for mark in marks):
        return text
    rendered = render(text)
    if isinstance(rendered, Number):
        # With render_template_as_native_obj "+12025550123" becomes an integer, and without "+" it is another number.
        return "".join(map(str, env.from_string(text).generate(context)))
    return rendered


def _is_reference(value: Any) -> bool:
    """Return whether Airflow resolves the value when the task runs; by its type, as frames have arbitrary columns."""
    return callable(getattr(type(value), "resolve", None)) and not isinstance(value, PathLike)
