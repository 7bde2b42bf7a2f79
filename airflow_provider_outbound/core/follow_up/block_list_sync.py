"""Makes the service's block list agree with a company's do-not-call list."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import attrs

from airflow_provider_outbound.core.client import BlockedNumber
from airflow_provider_outbound.core.follow_up.block_list import BATCH
from airflow_provider_outbound.core.models.phone import normalise
from airflow_provider_outbound.exceptions import OutboundBotConfigError, OutboundBotNotFoundError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.client import OutboundBotClient
    from airflow_provider_outbound.core.client.block_list import BlockListEntry
    from airflow_provider_outbound.core.ledger import Ledger

log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class SyncedBlockList:
    """
    The result of :func:`sync_block_list`.

    :param listed: The number of people on the company's list.
    :param added: The number of them that were not on the service's list yet.
    :param removed: The number of entries that were removed from the service's list.
    :param kept: The number of entries that are not on the company's list and stay on the service's list, because the
        ledger knows that these people refused to be called; 0 without ``remove``.
    """

    listed: int
    added: int
    removed: int
    kept: int


def sync_block_list(
    client: OutboundBotClient,
    ledger: Ledger,
    numbers: Iterable[str],
    *,
    remove: bool = False,
    max_removals: int | None = None,
    remark: str = "",
    instance_id: str | None = None,
) -> SyncedBlockList:
    """
    Put everybody on a company's list on the block list of a bot instance.

    A repeat adds and removes only what is left. Numbers are added before any is removed.

    :param numbers: The company's list, E.164.
    :param remove: Whether to remove entries of the service's list that are not on the company's list. Who refused to be
        called according to the ledger stays, until ``outbound ledger allow``.
    :param max_removals: Change nothing if more entries would be removed.
    :param remark: Shown next to added numbers in the console.
    :param instance_id: The bot instance; default: the client's.
    :raises OutboundBotConfigError: what is to be removed cannot be decided, or is too much; nothing was changed.
    """
    listed = frozenset(numbers)
    entries = list(client.iter_contact_block_list(instance_id=instance_id))
    surplus, kept = _surplus(ledger, entries, listed) if remove else ([], 0)
    if max_removals is not None and len(surplus) > max_removals:
        raise OutboundBotConfigError(
            f"max_removals: {len(surplus)} entries of the service's block list are not on the list, more than"
            f" {max_removals}; check that the list is complete, or allow more. Nothing was changed"
        )
    # In the form in which numbers are assigned: no document says that the service recognises another one.
    present = {entry.phone_number for entry in entries}
    missing = sorted(wire for wire in (normalise(number).wire for number in listed) if wire not in present)
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        client.save_contact_block_list(
            [BlockedNumber(phone_number=number, remark=remark) for number in batch], instance_id=instance_id
        )
    for entry in surplus:
        _delete(client, entry, instance_id)
    return SyncedBlockList(listed=len(listed), added=len(missing), removed=len(surplus), kept=kept)


def _surplus(
    ledger: Ledger, entries: Sequence[BlockListEntry], listed: frozenset[str]
) -> tuple[list[BlockListEntry], int]:
    """Return the entries to remove, and how many others stay although they are not on the list."""
    others: list[tuple[str, BlockListEntry]] = []
    unreadable = 0
    for entry in entries:
        try:
            number = normalise(entry.phone_number).e164
        except ValueError:
            unreadable += 1
            continue
        if number not in listed:
            others.append((ledger.identity.phone_key(number), entry))
    if unreadable:
        raise OutboundBotConfigError(
            f"remove: the numbers of {unreadable} entries of the service's block list are masked or cannot be read, so"
            " whether they are on the list is unknown; correct them in the console, or pass remove=False. Nothing was"
            " changed"
        )
    refused = ledger.follow_ups.refused([key for key, _ in others])
    surplus = [entry for key, entry in others if key not in refused]
    return surplus, len(others) - len(surplus)


def _delete(client: OutboundBotClient, entry: BlockListEntry, instance_id: str | None) -> None:
    try:
        client.delete_contact_block_list(entry_id=entry.entry_id, instance_id=instance_id)
    except OutboundBotNotFoundError as error:
        if error.code == "NotExist.Instance":
            raise
        # An earlier attempt, whose answer was lost, or somebody else has removed it.
        log.info("An entry of the block list is gone already: %s", error)
