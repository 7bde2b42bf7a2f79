"""The connection of a campaign, as the api-server finds it."""

from __future__ import annotations

from airflow.configuration import conf
from airflow.models import Connection, DagModel
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_outbound.core.ledger.pages import Campaign
from airflow_provider_outbound.hooks.connection import fields_of, find_connection
from airflow_provider_outbound.hooks.outboundbot import OutboundBotHook
from airflow_provider_outbound.hooks.settings import ConnectionSettings


def read_settings(campaign: Campaign, *, may_call: bool) -> ConnectionSettings:
    """
    Read the connection of a campaign.

    A task of a team finds the connections of its team. The api-server belongs to no team, so it asks for those of the
    campaign's DAGs, or else of the connection.

    :param may_call: As :attr:`.OutboundBotHook.may_call`.
    :raises OutboundBotConfigError: the connection does not exist, or a field cannot be used.
    """
    conn_id = str(campaign.conn_id)
    team = team_of(campaign)
    if team is None:
        connection = find_connection(conn_id)
    else:
        try:
            connection = Connection.get_connection_from_secrets(conn_id, team_name=team)
        except AirflowNotFoundException:
            connection = None
    fields = fields_of(connection, conn_id, OutboundBotHook.conn_type)
    return ConnectionSettings.from_fields(fields, may_call=may_call)


def team_of(campaign: Campaign) -> str | None:
    """The team of a campaign; ``None``: it belongs to none, or Airflow has no teams."""
    if not conf.getboolean("core", "multi_team", fallback=False):
        return None
    teams = (DagModel.get_team_name(dag_id) for dag_id in sorted(campaign.dag_ids))
    return next((team for team in teams if team is not None), None) or team_of_connection(campaign.conn_id)


def team_of_connection(conn_id: str | None) -> str | None:
    """The team of a connection in Airflow's database; ``None``: it belongs to none, or is elsewhere."""
    return None if conn_id is None else Connection.get_team_name(conn_id)
