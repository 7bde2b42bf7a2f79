"""The operator that makes the service's block list agree with a company's do-not-call list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk.exceptions import AirflowSkipException

from airflow_provider_outbound.arguments import check_choice, check_flags, whole_number
from airflow_provider_outbound.core.models.words import count_of
from airflow_provider_outbound.exceptions import (
    NOTHING_WAS_CHANGED,
    OutboundBotConfigError,
    OutboundBotContactsError,
)
from airflow_provider_outbound.operators.base import OutboundBotOperator, mask_contacts
from airflow_provider_outbound.operators.literals import NOT_GIVEN
from airflow_provider_outbound.operators.privacy import without_numbers

if TYPE_CHECKING:
    from airflow.sdk import Context


class OutboundBotSyncContactBlockListOperator(OutboundBotOperator):
    """
    Put everybody on a company's do-not-call list on the bot instance's block list.

    The list is given as to :class:`OutboundBotAssignJobsOperator`, and read as strictly: completely, or nothing is
    changed. Numbers that are missing at the service are added, in each run only those. Numbers go only to the API;
    Airflow shows and stores how many there are.

    :param exclude: Numbers, or contacts, that must not be called, in any form that ``contacts`` accepts.
    :param exclude_path: The same from files; both may be given.
    :param exclude_columns: Source columns by content; all numbers of a row count unless it names the ``phone``.
    :param exclude_sheet: Name of the sheet in workbooks.
    :param exclude_encoding: Encoding of the files.
    :param default_region: Country of numbers written without a country code.
    :param remove: Whether to remove entries that are on the service's list and not on this one, whoever added them.
        People whom ``OutboundBotSaveContactBlockListOperator`` put on the list stay, because they refused; after
        ``outbound ledger allow`` they are removed too.
    :param max_removals: Change nothing if more entries would be removed, for example because the list was cut off.
    :param on_empty: What to do if there is no number at all: ``fail``, ``skip`` this task, or ``clear`` the service's
        list, which needs ``remove=True``.
    :param remark: Shown next to added numbers in the console.
    :return: ``listed``, ``added``, ``removed`` and ``kept`` (not on this list, and not removed because they refused).
    """

    template_fields: Sequence[str] = (
        "exclude",
        "exclude_path",
        "exclude_columns",
        "exclude_sheet",
        "remark",
        "instance_id",
        "outboundbot_conn_id",
    )
    veiled_fields = ("exclude",)
    never_none = ("exclude_columns", "exclude_sheet")
    complete_fields = ("exclude_path", "exclude_sheet")
    ending = NOTHING_WAS_CHANGED
    ui_color = "#fbe9e7"

    def __init__(
        self,
        *,
        exclude: Any = NOT_GIVEN,
        exclude_path: Any = NOT_GIVEN,
        exclude_columns: Mapping[str, str | None] | None = None,
        exclude_sheet: str | None = None,
        exclude_encoding: str = "utf-8-sig",
        default_region: str = "CN",
        remove: bool = False,
        max_removals: int | None = None,
        on_empty: Literal["fail", "skip", "clear"] = "fail",
        remark: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.exclude = None if exclude is NOT_GIVEN else mask_contacts(exclude)
        self.exclude_path = None if exclude_path is NOT_GIVEN else exclude_path
        self.exclude_columns = exclude_columns
        self.exclude_sheet = exclude_sheet
        self.exclude_encoding = exclude_encoding
        self.default_region = default_region
        self.remove = remove
        self.max_removals = max_removals
        self.on_empty = on_empty
        self.remark = remark
        #: Arguments that the DAG file gives, even if a template or a task turns them into nothing.
        self.named = frozenset(
            name for name, value in (("exclude", exclude), ("exclude_path", exclude_path)) if value is not NOT_GIVEN
        )
        self.depend_on(exclude)

    def execute(self, context: Context) -> dict[str, int]:
        """Read the list, and add and remove what differs."""
        from airflow_provider_outbound.core.follow_up import sync_block_list

        max_removals = self._check_arguments()
        with without_numbers():
            numbers = self._read(context)
        if not numbers and self.on_empty == "skip":
            raise AirflowSkipException("there are no numbers on the list. Nothing was changed")
        if not numbers and self.on_empty == "fail":
            raise OutboundBotContactsError(
                "exclude: there is no number on the list; fix it, or say with on_empty what an empty list means."
                " Nothing was changed"
            )
        if self.hook.dry_run:
            raise AirflowSkipException(
                f"dry run: {count_of(len(numbers), 'number is', 'numbers are')} on the list; nothing was sent"
            )
        with self.hook as hook:
            result = sync_block_list(
                hook.client,
                hook.ledger,
                numbers,
                remove=self.remove,
                max_removals=max_removals,
                remark=self.remark,
                instance_id=self.instance_id,
            )
        self.log.info(
            "Block list: %s on the list, %d added, %d removed",
            count_of(result.listed, "number"),
            result.added,
            result.removed,
        )
        if result.kept:
            self.log.warning(
                "Block list: %s not on the list and stay blocked, because they refused to be called"
                " according to the ledger; outbound ledger allow reverses that",
                count_of(result.kept, "person is", "people are"),
            )
        return {"listed": result.listed, "added": result.added, "removed": result.removed, "kept": result.kept}

    def _check_arguments(self) -> int | None:
        check_flags(self, "remove")
        check_choice(self.on_empty, "on_empty", ("fail", "skip", "clear"))
        if self.on_empty == "clear" and not self.remove:
            raise OutboundBotConfigError(
                "on_empty: 'clear' removes entries, which remove=False forbids; pass remove=True, or 'skip'"
            )
        return whole_number(self.max_removals, "max_removals", least=0)

    def _read(self, context: Context) -> frozenset[str]:
        """Return the numbers of the list, E.164."""
        import attrs

        from airflow_provider_outbound.operators.missing import why_incomplete, why_missing
        from airflow_provider_outbound.operators.sources import SourceArguments, named_exclusions, read_exclusion

        # This operator has the arguments for people that must not be called, and none for contacts.
        given: dict[str, Any] = {name: getattr(self, name, None) for name in attrs.fields_dict(SourceArguments)}
        arguments = SourceArguments(**given | {"encoding": self.exclude_encoding, "on_missing_exclusions": "fail"})
        labels = named_exclusions(arguments)
        if not labels:
            raise OutboundBotConfigError("exclude: there is no list; pass exclude or exclude_path. Nothing was changed")
        numbers: frozenset[str] = frozenset()
        for label in labels:
            value = getattr(self, label)
            if why := why_missing(value, label) or why_incomplete(value):
                raise OutboundBotContactsError(
                    f"{label}: {why}, so the people on the list are unknown; fix it. Nothing was changed"
                )
            numbers |= read_exclusion(arguments, label, context)
        return numbers
