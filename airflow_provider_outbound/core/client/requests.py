"""Build a request of any action from parameters by their names on the wire, and refuse what cannot be sent whole."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

import attrs

from airflow_provider_outbound.core.models.phone import redact
from airflow_provider_outbound.exceptions import OutboundBotConfigError

_PACKAGE = "aliyunsdkoutboundbot.request.v20191226"


@attrs.frozen(kw_only=True)
class Parameter:
    """
    A parameter of an action, as the SDK knows it.

    :param name: Its name on the wire.
    :param put: Puts a value into a request.
    :param is_list: Whether it is a list, whose items the SDK numbers.
    :param is_json: Whether the SDK writes it as JSON.
    """

    name: str
    put: Callable[[Any, Any], None]
    is_list: bool
    is_json: bool


@cache
def action_names() -> frozenset[str]:
    """Return the names of all actions of the SDK."""
    package = importlib.import_module(_PACKAGE)
    return frozenset(module.name.removesuffix("Request") for module in pkgutil.iter_modules(package.__path__))


@cache
def parameters_of(action: str) -> Mapping[str, Parameter]:
    """
    Return the parameters of an action, by name.

    The SDK describes them only by its setters: that of a list has the plural for its name, and that of a JSON value
    calls ``json.dumps``.
    """
    found = {}
    for setter, put in vars(_request_class(action)).items():
        if setter.startswith("set_"):
            # The SDK puts an underscore before a name that is a keyword of Python.
            name = list(inspect.signature(put).parameters)[1].removeprefix("_")
            is_json = "dumps" in put.__code__.co_names
            found[name] = Parameter(name=name, put=put, is_list=setter != f"set_{name}", is_json=is_json)
    return found


def check_action(action: object) -> str:
    """
    Return the name of an action.

    :raises OutboundBotConfigError: the SDK has no such action; names the nearest one.
    """
    if isinstance(action, str) and action in action_names():
        return action
    raise _wrong("action", f"{_shown(action)} is not an action of the API", _nearest(action, action_names()))


def build_request(action: str, values: Mapping[str, Any]) -> Any:
    """
    Build the SDK's request object.

    :param values: By name on the wire: text, an integer, a boolean, a list for a parameter with numbered items, and
        for a JSON parameter JSON text or the value that it stands for.
    :raises OutboundBotConfigError: the action has no such parameter, or the SDK would not send a value completely.
    """
    known = parameters_of(check_action(action))
    request = _request_class(action)()
    request.set_accept_format("JSON")
    for name, value in values.items():
        if name not in known:
            raise _wrong(_shown(name), f"is not a parameter of {action}", _nearest(name, known))
        _put(request, known[name], value)
    return request


def _request_class(action: str) -> Any:
    return getattr(importlib.import_module(f"{_PACKAGE}.{action}Request"), f"{action}Request")


def _put(request: Any, parameter: Parameter, value: Any) -> None:
    name = parameter.name
    if parameter.is_json:
        parameter.put(request, _json(name, value))
        return
    if isinstance(value, list | tuple) != parameter.is_list:
        what = "must be a list" if parameter.is_list else "must not be a list"
        raise _wrong(name, f"is a {type(value).__name__}, and {what}", "give it in the form of the API's documentation")
    texts = _texts(name, value)
    if not isinstance(texts, str | list):
        raise _wrong(name, f"is a {type(value).__name__}", "give a text, for instance from json.dumps")
    if name.endswith("Id") and texts in ("", "None"):
        raise _wrong(name, f"is {texts!r}", "give an id; did a template render to nothing?")
    try:
        parameter.put(request, texts)
    except (AttributeError, TypeError):
        # The SDK expects objects in the list.
        raise _wrong(name, "does not have the form that the action takes", "give a list of objects") from None
    sent = {**request.get_query_params(), **request.get_body_params()}
    for key, text in _numbered(name, texts):
        if sent.get(key) != text:
            # The SDK leaves out what it does not know.
            raise _wrong(key, f"is not a part of {name}", "correct its name, or leave it out")


def _json(name: str, value: Any) -> Any:
    try:
        found = json.loads(value) if isinstance(value, str) else value
        json.dumps(found, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise _wrong(name, "is not JSON", "give JSON text, a list or a dictionary") from None
    if not isinstance(found, list | dict):
        raise _wrong(name, "is neither a JSON list nor an object", "give a list or a dictionary")
    return found


def _texts(name: str, value: Any) -> Any:
    """Return the value with texts for its integers and booleans."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        # The SDK would send "True", and no document says that the API accepts it.
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping) and value:
        return {str(key): _texts(f"{name}.{_shown(key)}", item) for key, item in value.items()}
    if isinstance(value, list | tuple) and value:
        return [_texts(f"{name}.{number}", item) for number, item in enumerate(value, start=1)]
    if value is None or isinstance(value, Sequence | Mapping):
        raise _wrong(name, "is empty" if value is not None else "is None", "leave it out if it is not to be sent")
    raise _wrong(name, f"is a {type(value).__name__}", "give a text, an integer or a boolean")


def _numbered(name: str, texts: Any) -> Iterator[tuple[str, str]]:
    """Yield what is sent for a value: ``Tag.1.Key`` for the key of the first tag."""
    if isinstance(texts, str):
        yield name, texts
        return
    for key, item in texts.items() if isinstance(texts, dict) else enumerate(texts, start=1):
        yield from _numbered(f"{name}.{key}", item)


def _nearest(name: object, known: Collection[str]) -> str:
    plain = {item.lower(): item for item in sorted(known)}
    near = get_close_matches(str(name).lower().replace("_", ""), plain, n=1, cutoff=0.5)
    if near:
        return f"did you mean {plain[near[0]]!r}?"
    if len(plain) > 30:
        return "see the API's documentation for its name"
    return f"it has {', '.join(plain.values())}" if plain else "it has none"


def _shown(value: object) -> str:
    text = redact(repr(value))
    return text if len(text) <= 60 else f"{text[:60]}…"


def _wrong(field: str, what: str, hint: str) -> OutboundBotConfigError:
    return OutboundBotConfigError(f"{field}: {what}; {hint}{'' if hint.endswith('?') else '.'} Nothing was sent")
