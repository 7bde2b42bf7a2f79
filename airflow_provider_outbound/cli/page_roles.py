"""Whether the roles of Airflow's FAB auth manager let their users see the page of campaigns."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator

from airflow_provider_outbound.cli.place import Finding, State
from airflow_provider_outbound.exceptions import OutboundBotConfigError

_NAME = "page"
#: What Airflow requires of users to whom it shows pages of plugins, and of those who may see DAGs.
_PLUGINS, _DAGS, _DAG_PREFIX = "Plugins", "DAGs", "DAG:"
#: By the tables of FAB rather than its models, so that FAB need not be loaded.
_READABLE = """
SELECT ab_role.name AS role, ab_view_menu.name AS resource
FROM ab_role
JOIN ab_permission_view_role ON ab_permission_view_role.role_id = ab_role.id
JOIN ab_permission_view ON ab_permission_view.id = ab_permission_view_role.permission_view_id
JOIN ab_permission ON ab_permission.id = ab_permission_view.permission_id
JOIN ab_view_menu ON ab_view_menu.id = ab_permission_view.view_menu_id
WHERE ab_permission.name = 'can_read'
"""


def check_roles() -> Iterator[Finding]:
    """Report roles that see DAGs and not the page; nothing with another auth manager, or without the page."""
    from airflow_provider_outbound import config

    try:
        is_shown = config.page_enabled()
    except OutboundBotConfigError as error:
        yield Finding(_NAME, State.WRONG, f"{error}; until then the page is left out")
        return
    if not is_shown or not _has_fab():
        return
    from sqlalchemy.exc import SQLAlchemyError

    try:
        blind = _blind_roles()
    except SQLAlchemyError as error:
        text = f"the roles of the FAB auth manager could not be read from Airflow's database ({type(error).__name__})"
        yield Finding(_NAME, State.WARNING, text)
        return
    if blind:
        roles = shlex.join(blind)
        yield Finding(
            _NAME,
            State.WARNING,
            f"users who have only these roles may not read plugins and see no page: {', '.join(blind)}; to show it to "
            f"them, run: airflow roles add-perms {roles} -a can_read -r {_PLUGINS}",
        )
    else:
        yield Finding(_NAME, State.GOOD, "every role that may read DAGs may read plugins, so its users see the page")


def _has_fab() -> bool:
    from airflow.configuration import conf
    from airflow.exceptions import AirflowConfigException

    name = conf.get("core", "auth_manager", fallback="")
    if name.startswith("airflow."):
        return name.startswith("airflow.providers.fab.")
    try:
        manager = conf.getimport("core", "auth_manager")  # a custom one may extend FAB's
    except (AirflowConfigException, ImportError):
        return False  # Airflow itself reports it
    return any(one.__module__.startswith("airflow.providers.fab.") for one in getattr(manager, "__mro__", ()))


def _blind_roles() -> list[str]:
    """Roles that may read DAGs and may not read plugins, in order."""
    from airflow.utils.session import create_session
    from sqlalchemy import text

    readable: dict[str, set[str]] = defaultdict(set)
    with create_session() as session:
        for row in session.execute(text(_READABLE)):
            readable[row.role].add(row.resource)
    return sorted(
        role
        for role, resources in readable.items()
        if _PLUGINS not in resources and any(one == _DAGS or one.startswith(_DAG_PREFIX) for one in resources)
    )
