"""Tombstones of purged groups: which of them the service still has."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import attrs
from sqlalchemy import select, update

from airflow_provider_outbound.core.ledger import schema
from airflow_provider_outbound.core.ledger.reconcile_state import Tombstone

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger.database import Database

_groups = schema.job_groups.c


@attrs.frozen(kw_only=True)
class DeletableGroup:
    """
    A purged group that the service may still have.

    :param instance_id: Its bot instance; ``None``: the ledger does not know it.
    :param conn_id: The Airflow connection through which it was controlled; ``None``: the ledger does not know it.
    """

    job_group_id: str
    instance_id: str | None
    conn_id: str | None


class Tombstones:
    """Reads and writes of the tombstones in ``job_groups``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def deletable(self, older_than: timedelta, *, job_group_id: str | None = None) -> list[DeletableGroup]:
        """
        Purged groups that are not known to be deleted at the service, oldest first.

        Groups that no task of this ledger created are left to whoever did, unless one is named.

        :param older_than: How long ago the last change must be.
        :param job_group_id: Only this group, whoever created it.
        """
        before = self._database.now() - older_than
        statement = select(schema.job_groups).where(_groups.purged_at.is_not(None)).order_by(_groups.created_at)
        if job_group_id is None:
            statement = statement.where(_groups.run_key.is_not(None))
        else:
            statement = statement.where(_groups.job_group_id == job_group_id)
        found = []
        with self._database.read() as connection:
            for row in connection.execute(statement):
                tombstone = Tombstone.from_json(row.observed)
                # An older version may have overwritten a tombstone.
                if not tombstone.deleted and (tombstone.last_at or row.purged_at) <= before:
                    found.append(
                        DeletableGroup(job_group_id=row.job_group_id, instance_id=row.instance_id, conn_id=row.conn_id)
                    )
        return found

    def note_deleted(self, job_group_id: str) -> None:
        """Record that the service does not have a purged group any more."""
        here = _groups.job_group_id == job_group_id, _groups.purged_at.is_not(None)
        with self._database.write() as connection:
            row = connection.execute(select(_groups.observed).where(*here).with_for_update()).one_or_none()
            if row is not None:
                changed = attrs.evolve(Tombstone.from_json(row.observed), deleted=True)
                connection.execute(update(schema.job_groups).where(*here).values(observed=changed.to_json()))
