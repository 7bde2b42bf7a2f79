"""Puts people who asked not to be called on the service's block list."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

import attrs

from airflow_provider_outbound.core.client import BlockedNumber
from airflow_provider_outbound.core.follow_up.rows import unhandled
from airflow_provider_outbound.core.results import enrich, needs_details

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.ledger import JobResult, Ledger

#: Numbers in one request, which carries all of them in its URL.
BATCH = 50


@attrs.frozen(kw_only=True)
class BlockListResult:
    """
    The result of :func:`save_block_list`.

    :param saved: The number of jobs whose numbers were sent to the block list by this call.
    :param undecryptable: The number of jobs whose number the ledger cannot decrypt. Nothing was sent for them, nor for
        the following two.
    :param unnamed: The number of jobs that others assigned and whose number the service does not name.
    :param forgotten: The number of jobs of persons whom somebody has had erased from the ledger.
    """

    saved: int = 0
    undecryptable: int = 0
    unnamed: int = 0
    forgotten: int = 0


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

    The ledger records what was sent, so a second call sends only the numbers added since. Sending a number twice,
    because a process died in between, does no harm. If ``only`` is a tag, missing tags are fetched from the API first.

    :param only: Select jobs, as in :func:`~airflow_provider_outbound.core.results.iter_results`.
    :param remark: Shown next to the number in the console.
    :param instance_id: The bot instance; default: the client's.
    :raises OutboundBotConfigError: ``only`` is unknown; raised before anything is sent.
    """
    from airflow_provider_outbound.core.ledger.follow_ups import BLOCK_LIST

    name = f"{BLOCK_LIST}{instance_id or client.settings.instance_id}"
    counted: Counter[str] = Counter()
    if needs_details(only):
        enrich(ledger, client, job_group_id, only=only, tags_only=True, instance_id=instance_id)
    rows = unhandled(ledger, job_group_id, name, only)
    while batch := list(islice(rows, BATCH)):
        known = [row for row in batch if row.phone_number]
        counted.update(_why_unknown(row) for row in batch if not row.phone_number)
        if known:
            client.save_contact_block_list(
                [BlockedNumber(phone_number=row.phone_number or "", remark=remark) for row in known],
                instance_id=instance_id,
            )
            ledger.follow_ups.mark(name, known)
            counted["saved"] += len(known)
    return BlockListResult(**counted)


def _why_unknown(row: JobResult) -> str:
    if not row.decrypted:
        return "undecryptable"
    return "forgotten" if row.is_forgotten else "unnamed"
