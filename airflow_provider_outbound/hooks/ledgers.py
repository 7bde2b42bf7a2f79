"""Opening the ledger of this installation."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_outbound import config
from airflow_provider_outbound.exceptions import LedgerKeyError, LedgerMissingError, OutboundBotConfigError

if TYPE_CHECKING:
    from airflow_provider_outbound.core.ledger import Ledger

log = logging.getLogger(__name__)


def open_configured(*, is_strict: bool) -> Ledger:
    """
    Open the ledger that Airflow's configuration names.

    :param is_strict: Whether to refuse a missing or wrong key, and mistakes in other options. Stopping calls must work
        in spite of them: if no key opens the ledger, what is not encrypted can be read and written.
    :raises OutboundBotConfigError: ``[outbound]`` cannot be used.
    :raises LedgerError: the database cannot be used.
    """
    from airflow_provider_outbound.core.ledger import open_ledger

    if is_strict:
        settings = config.load()
        return open_ledger(settings.ledger_url, settings.ledger_keys)
    url = config.load_ledger_url()
    try:
        return open_ledger(url, config.load_ledger_keys(), require_keys=False)
    except (LedgerKeyError, OutboundBotConfigError) as error:
        ledger = _without_keys(url, error)
        log.warning("%s. Calls can be stopped nevertheless", error)
        return ledger


def _without_keys(url: str, why: Exception) -> Ledger:
    from airflow_provider_outbound.core.ledger.keyless import KeylessLedger

    try:
        return KeylessLedger(url)
    except LedgerMissingError:
        raise why from None
