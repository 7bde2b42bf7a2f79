"""Actions that read a bot instance's block list and delete from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import attrs

from airflow_provider_outbound.core.client.answers import Page, paginate, read_page
from airflow_provider_outbound.core.client.base import ClientActions
from airflow_provider_outbound.core.models.wire import text


@attrs.frozen(kw_only=True)
class BlockListEntry:
    """
    A number on the block list of a bot instance.

    :param entry_id: The service's id of the entry.
    :param phone_number: As the service has it; it may be masked.
    """

    entry_id: str
    phone_number: str = attrs.field(repr=False)

    @classmethod
    def from_api(cls, raw: Mapping[str, Any]) -> BlockListEntry:
        """
        Read an entry. Source: ``GetContactBlockList`` (2019-12-26).

        :raises ValueError: it has no id, or no number.
        """
        entry_id, number = text(raw.get("ContactBlockListId")), text(raw.get("PhoneNumber"))
        if entry_id is None or number is None:
            raise ValueError("ContactBlockListId or PhoneNumber is missing")
        return cls(entry_id=entry_id, phone_number=number)


class BlockListActions(ClientActions):
    """Actions that read a bot instance's block list and delete from it."""

    def get_contact_block_list(
        self, *, page_number: int = 1, page_size: int = 100, instance_id: str | None = None
    ) -> Page[BlockListEntry]:
        """
        Return one page of the instance's block list.

        Source: ``GetContactBlockList`` (2019-12-26).
        """
        answer = self._sender.repeatable(
            "GetContactBlockList",
            InstanceId=self._instance(instance_id),
            CountTotalRow=True,
            PageNumber=page_number,
            PageSize=page_size,
        )
        return read_page(
            "GetContactBlockList",
            answer.get("ContactBlocklistList"),
            "TotalCount",
            BlockListEntry.from_api,
            page_number,
            page_size,
        )

    def iter_contact_block_list(
        self, *, page_size: int = 100, instance_id: str | None = None
    ) -> Iterator[BlockListEntry]:
        """Yield the whole block list; if it changes meanwhile, some entries may be repeated or missing."""
        return paginate(partial(self.get_contact_block_list, page_size=page_size, instance_id=instance_id))

    def delete_contact_block_list(self, *, entry_id: str, instance_id: str | None = None) -> None:
        """
        Delete one entry of the block list, so that the service may call the number. Safe to repeat.

        :raises OutboundBotNotFoundError: there is no such entry, or no such instance.

        Source: ``DeleteContactBlockList`` (2019-12-26).
        """
        self._sender.repeatable(
            "DeleteContactBlockList",
            InstanceId=self._instance(instance_id),
            ContactBlockListId=self._need("entry_id", entry_id),
            Operator="airflow",
        )
