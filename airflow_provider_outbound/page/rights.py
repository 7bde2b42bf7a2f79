"""
Who may see and control which campaign, by the rights that Airflow's auth manager grants.

The only module that imports ``airflow.api_fastapi``, whose names carry no promise of stability.

A campaign is visible to those who may read every DAG that created it or assigned to it, and is controlled by those who
may edit the runs of each. DAGs are taken from the ledger, never from the request. A campaign without a DAG, or with one
that Airflow no longer has, also requires the right to its connection, as do health and quarantine.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

import attrs
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models import DagModel
from airflow.utils.session import create_session
from fastapi import Depends, HTTPException, Request
from sqlalchemy import select

from airflow_provider_outbound.core.ledger.pages import Campaign
from airflow_provider_outbound.page.connections import team_of_connection


@attrs.define(kw_only=True, slots=False)
class Reader:
    """The user of a request, and their rights."""

    user: Any

    @property
    def name(self) -> str:
        """The user's name, for logs."""
        return str(self.user.get_name())

    @cached_property
    def _readable(self) -> set[str]:
        return get_auth_manager().get_authorized_dag_ids(user=self.user, method="GET")

    @cached_property
    def _all_dags(self) -> set[str]:
        with create_session() as session:
            return set(session.scalars(select(DagModel.dag_id)))

    @cached_property
    def _editable_runs(self) -> dict[str, bool]:
        return {}

    @cached_property
    def _connections(self) -> dict[tuple[str, str | None], bool]:
        return {}

    def may_use_connection(self, method: Literal["GET", "PUT"], conn_id: str | None = None) -> bool:
        """
        Whether the user has a right to a connection.

        :param conn_id: The connection; ``None``: connections in general.
        """
        if (method, conn_id) not in self._connections:
            details = ConnectionDetails(conn_id=conn_id, team_name=team_of_connection(conn_id))
            self._connections[method, conn_id] = bool(
                get_auth_manager().is_authorized_connection(method=method, details=details, user=self.user)
            )
        return self._connections[method, conn_id]

    def can_read(self, campaign: Campaign) -> bool:
        """Whether the user may see a campaign."""
        missing = campaign.dag_ids - self._readable
        if campaign.dag_ids and not missing:
            return True
        # Airflow knows these DAGs, and the user has no right to them.
        if missing & self._all_dags:
            return False
        return self.may_use_connection("GET", campaign.conn_id)

    def can_edit(self, campaign: Campaign) -> bool:
        """Whether the user may control a campaign: what the page offers, and what :meth:`require_edit` accepts."""
        known = campaign.dag_ids & self._all_dags
        if not all(self._may_edit_runs(dag_id) for dag_id in known):
            return False
        if known and known == campaign.dag_ids:
            return True
        return self.may_use_connection("PUT", campaign.conn_id)

    def require_edit(self, campaign: Campaign) -> None:
        """
        Refuse a user who may not control a campaign.

        :raises HTTPException: 403.
        """
        if not self.can_edit(campaign):
            raise HTTPException(403, "You may not edit the runs of this campaign's DAG")

    def _may_edit_runs(self, dag_id: str) -> bool:
        if dag_id not in self._editable_runs:
            # Without the team, a user of another team would be let in.
            details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
            self._editable_runs[dag_id] = bool(
                get_auth_manager().is_authorized_dag(
                    method="PUT", access_entity=DagAccessEntity.RUN, details=details, user=self.user
                )
            )
        return self._editable_runs[dag_id]


def reader(user: GetUserDep) -> Reader:
    """Dependency of each request: a user who is logged in."""
    return Reader(user=user)


def same_origin(request: Request) -> None:
    """
    Dependency of each POST: refuse what another site's page sends with the user's cookie.

    :raises HTTPException: 403. A form cannot set the header, and a script of another origin needs permission for it.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if site != "same-origin" or request.headers.get("x-outbound") != "1" or kind != "application/json":
        raise HTTPException(403, "This request did not come from the page")


ReaderDep = Annotated[Reader, Depends(reader)]
