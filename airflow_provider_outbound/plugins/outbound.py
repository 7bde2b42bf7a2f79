"""The package's plugin: campaigns in Airflow's UI, and links to them."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from airflow_provider_outbound import __version__, config
from airflow_provider_outbound.exceptions import OutboundBotConfigError

log = logging.getLogger(__name__)

#: Path under which the plugin's application is mounted.
PREFIX = "/outbound"


class OutboundPlugin(AirflowPlugin):
    """
    Registers the page of campaigns with Airflow.

    Airflow imports plugins in all its processes, so what only the api-server needs is imported on first use. An error
    here would end the api-server. Therefore a wrong setting is logged, and the page is left out.
    """

    name = "outbound"

    @cached_property
    def react_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The entry in the navigation, and the tab of a DAG run."""
        if not self._has_page:
            return []
        # Airflow 3.2 requires a path that begins with a slash.
        bundle = f"{config.page_root()}{PREFIX}/static/{__version__}/app.js"
        shared = {"name": "Campaigns", "bundle_url": bundle}
        icon = f"{config.page_root()}{PREFIX}/static/{__version__}/"
        pages = [
            {
                **shared,
                "url_route": "outbound",
                "destination": "nav",
                "nav_top_level": True,
                "icon": f"{icon}icon.svg",
                "icon_dark_mode": f"{icon}icon_dark.svg",
            }
        ]
        if _setting(config.run_tab_enabled):
            pages.append({**shared, "url_route": "campaigns", "destination": "dag_run"})
        return pages

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The application that answers the page's requests."""
        if not self._has_page:
            return []
        try:
            from airflow_provider_outbound.page.app import build_app

            return [{"name": "Outbound", "url_prefix": PREFIX, "app": build_app()}]
        except Exception:
            log.exception("The page of campaigns could not be loaded, so it is left out")
            return []

    @cached_property
    def operator_extra_links(self) -> list[Any]:  # type: ignore[override]
        """The link from a task to its campaign."""
        if not self._has_page:
            return []
        from airflow_provider_outbound.plugins.link import CampaignLink

        return [CampaignLink()]

    @cached_property
    def _has_page(self) -> bool:
        return _setting(config.page_enabled)


def _setting(read: Any) -> bool:
    try:
        return bool(read())
    except OutboundBotConfigError as error:
        log.warning("%s; the page is left out", error)
        return False
