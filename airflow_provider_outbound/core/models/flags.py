"""Arguments that are true or false."""

from __future__ import annotations

from airflow_provider_outbound.exceptions import OutboundBotConfigError


def check_flags(owner: object, *names: str) -> None:
    """
    Refuse what is neither ``True`` nor ``False``: the text ``"False"``, of a variable for example, would count as true.

    :param owner: Whose attributes ``names`` are.
    :raises OutboundBotConfigError: names the argument and its value.
    """
    for name in names:
        value = getattr(owner, name)
        if not isinstance(value, bool):
            raise OutboundBotConfigError(f"{name}: {value!r} is neither True nor False; pass one of them")
