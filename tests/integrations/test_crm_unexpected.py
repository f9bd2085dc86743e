"""Answers of success in a form that no CRM has: who presses *Check connection* or *Make fields* is told, and sees no fault of ours."""

import time
from contextlib import suppress
from typing import Any

import pytest

from router.integrations.base import DeliveryError
from router.integrations.crm.accounts import check_connection
from router.integrations.crm.connect import make_own_fields
from router.integrations.crm.connector import Access
from router.integrations.vendors import VENDORS
from router.lib.http_client import Answer
from tests.integrations.bitrix24_world import Bitrix24World
from tests.integrations.crm_world import Line
from tests.integrations.hubspot_world import HubSpotWorld
from tests.integrations.kommo_world import KommoWorld
from tests.integrations.odoo_world import OdooWorld
from tests.integrations.pipedrive_world import PipedriveWorld
from tests.people import NOW

BODIES = (
    b"null",
    b"[]",
    b"{}",
    b"7",
    b'"x"',
    b'{"success": true, "data": [7]}',
    b'{"result": [7]}',
    b'{"_embedded": {"users": [7]}}',
)


@pytest.mark.parametrize("made", [OdooWorld, HubSpotWorld, PipedriveWorld, Bitrix24World, KommoWorld])
def test_an_answer_in_no_known_form_is_told_in_words(made: Any) -> None:
    world = made()
    vendor = next(vendor for vendor in VENDORS.values() if vendor.sender is world.sender)
    managers = (world.manager,)

    def look(line: Line) -> None:
        check_connection(vendor, line, world.config, world.secret, managers, NOW)
        make_own_fields(world.sender.connector, line, Access(world.config, world.secret, time.monotonic() + 15, NOW))

    counted = Line(world.transport)
    with suppress(DeliveryError):  # Odoo's key is no administrator's, and may make no fields
        look(counted)
    told = 0
    for body in BODIES:
        for at in range(1, counted.count + 1):
            with suppress(DeliveryError):
                look(Line(world.transport, at, Answer(200, {}, body, complete=True)))
                continue
            told += 1
    assert told > counted.count
