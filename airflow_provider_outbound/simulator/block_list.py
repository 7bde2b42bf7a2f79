"""The actions of the block list."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_outbound.simulator import answers
from airflow_provider_outbound.simulator.cloud import Cloud, Refusal
from airflow_provider_outbound.simulator.messages import milliseconds
from airflow_provider_outbound.simulator.outcomes import outcome_of
from airflow_provider_outbound.simulator.parameters import Parameters


def save_contact_block_list(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """SaveContactBlockList"""
    try:
        rows = json.loads(parameters.require("ContactBlockListsJson"))
        numbers = [str(row["phoneNumber"]) for row in rows]
    except (ValueError, KeyError, TypeError):
        raise Refusal(400, "InvalidParameter", "ContactBlockListsJson is not a list with phoneNumber.") from None
    entries = {
        number: {
            "ContactBlockListId": cloud.new_id(),
            "CreationTime": milliseconds(cloud.clock.now()),
            "Creator": row.get("creator", ""),
            "InstanceId": cloud.options.instance_id,
            "Name": row.get("name", ""),
            "PhoneNumber": number,
            "Remark": row.get("remark", ""),
        }
        for number, row in zip(numbers, rows, strict=True)
    }
    cloud.block(entries)
    return {"AffectedRows": len(numbers)}


def get_contact_block_list(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """GetContactBlockList"""
    number, size = parameters.integer("PageNumber", 1), parameters.integer("PageSize", 10)
    rows = list(cloud.block_list.values())
    shown = list(answers.page(rows, number, size))
    if cloud.faults.strikes("numbers_masked", action="GetContactBlockList"):
        shown = [answers.change_numbers(row, answers.masked) for row in shown]
    return {
        "ContactBlocklistList": {"List": shown, "PageNumber": number, "PageSize": size, "TotalCount": len(rows)},
    }


def delete_contact_block_list(cloud: Cloud, parameters: Parameters) -> dict[str, Any]:
    """DeleteContactBlockList; jobs that wait for their first call are dialled again"""
    entry_id = parameters.require("ContactBlockListId")
    found = [number for number, row in cloud.block_list.items() if row["ContactBlockListId"] == entry_id]
    if not found:
        raise Refusal(404, "NotExist.ContactBlockList", "The specified ContactBlockList does not exist.")
    for number in found:
        del cloud.block_list[number]
        for job in cloud.jobs.values():
            if job.phone_number == number and not job.ended and not job.calls:
                job.outcome = outcome_of(number)
    return {"AffectedRows": len(found)}
