"""Those who asked not to be called, put on the service's block list."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import attrs

from airflow_provider_outbound.core.client import BlockedNumber
from airflow_provider_outbound.core.follow_up.rows import unhandled
from airflow_provider_outbound.core.results import enrich, needs_details

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import Ledger

#: Numbers in one request; all of them travel in its URL.
BATCH = 50


@attrs.frozen(kw_only=True)
class BlockListResult:
    """
    What came of it.

    :param saved: Jobs whose numbers were sent to the block list now.
    :param without_number: Jobs whose number the ledger does not hold, or cannot decrypt: nothing was done for them.
    """

    saved: int
    without_number: int


def save_block_list(
    client: OutboundBotClient,
    ledger: Ledger,
    job_group_id: str,
    *,
    only: str,
    remark: str = "",
    instance_id: str | None = None,
) -> BlockListResult:
    """
    Put the numbers of a group's ended jobs on the block list of a bot instance.

    What was sent is remembered: a second call sends only those that came since. A number sent twice, because a process
    died in between, is on the list all the same. If ``only`` is a tag, the API is asked for those it has not told yet.

    :param only: Whose, as in :func:`~airflow_provider_outbound.core.results.iter_results`.
    :param remark: Shown beside the number in the console.
    :param instance_id: The instance; default: the client's.
    :raises OutboundBotConfigError: ``only`` is unknown; before anything is sent.
    """
    from airflow_provider_outbound.core.ledger.follow_ups import BLOCK_LIST

    name = f"{BLOCK_LIST}{instance_id or client.settings.instance_id}"
    saved = without_number = 0
    if needs_details(only):
        enrich(ledger, client, job_group_id, only=only, instance_id=instance_id)
    rows = unhandled(ledger, job_group_id, name, only)
    while batch := list(islice(rows, BATCH)):
        known = [row for row in batch if row.phone_number]
        without_number += len(batch) - len(known)
        if known:
            client.save_contact_block_list(
                [BlockedNumber(phone_number=row.phone_number or "", remark=remark) for row in known],
                instance_id=instance_id,
            )
            ledger.follow_ups.mark(name, known)
            saved += len(known)
    return BlockListResult(saved=saved, without_number=without_number)
