"""R10, R11 for every CRM: whatever fails at whichever request, one caller gets one contact, one lead, one entry of his call and one task,
and nothing that a person changed is lost."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.integrations.crm.saga import CrmSender
from router.integrations.vendors import VENDORS
from router.lib.http_client import Answer
from tests.integrations.bitrix24_world import Bitrix24DealsWorld, Bitrix24World
from tests.integrations.crm_world import FAULTS, World
from tests.integrations.hubspot_world import HubSpotWorld
from tests.integrations.kommo_world import KommoWorld
from tests.integrations.odoo import REAL, Crm
from tests.integrations.odoo_world import OdooWorld
from tests.integrations.pipedrive_world import PipedriveWorld
from tests.integrations.plain_crm import PlainWorld
from tests.integrations.salesforce_world import SalesforceWorld
from tests.integrations.tryton import REAL as REAL_TRYTON
from tests.integrations.tryton_world import TrytonWorld
from tests.properties import examples

WORLDS: dict[str, Any] = {
    "hubspot": HubSpotWorld,
    "odoo": OdooWorld,
    "pipedrive": PipedriveWorld,
    "bitrix24": Bitrix24World,
    "bitrix24 deals": Bitrix24DealsWorld,
    "kommo": KommoWorld,
    "plain": PlainWorld,
    "salesforce": SalesforceWorld,
    "tryton": TrytonWorld,
}
"""By kind of vendor; and one that nobody sells, with all that Odoo does not need."""
if all(REAL.values()):
    WORLDS["real odoo"] = lambda: OdooWorld(Crm(REAL["URL"], REAL["DATABASE"], REAL["API_KEY"], REAL["ADMIN_KEY"]))
if all(REAL_TRYTON.values()):
    WORLDS["real tryton"] = lambda: TrytonWorld(is_real=True)


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    made: World = WORLDS[request.param]()
    return made


def faults(world: World) -> dict[str, str | Answer]:
    return {name: name for name in FAULTS} | dict(world.own_faults)


def judge(world: World, what: str) -> Any:
    """The one lead of the caller."""
    leads = world.leads()
    assert len(leads) == 1, what
    (lead,) = leads
    assert (lead.calls, lead.tasks, lead.is_visible) == (1, 1, True), what
    assert world.contacts() == int(world.makes_contacts), what
    return lead


def test_every_crm_whose_sender_is_the_shared_one_is_here() -> None:
    shared = {kind for kind, vendor in VENDORS.items() if issubclass(vendor.sender, CrmSender)}  # type: ignore[arg-type] # a class
    assert shared <= WORLDS.keys()


def test_a_new_caller_gets_one_of_each_and_the_person_of_the_settings(world: World) -> None:
    world.begin()
    world.deliver(world.message())
    assert judge(world, "no fault").owner is not None


def test_a_fault_at_any_request_makes_nothing_twice_and_loses_nothing(world: World) -> None:
    world.begin()
    requests = world.deliver(world.message())
    assert requests > 4
    for name, how in faults(world).items():
        for at in range(1, requests + 1):
            world.begin()
            world.deliver(world.message(), (at, how))
            judge(world, f"{name} at request {at}")


def test_what_a_person_changes_between_two_attempts_stays(world: World) -> None:
    world.begin()
    requests = world.deliver(world.message())
    for name in ("dropped_after", "bad_gateway", "unreadable", "slow"):
        for at in range(1, requests + 1):
            world.begin()
            changed = []

            def change(changed: list[Any] = changed) -> None:
                for lead in world.leads():
                    world.edit(lead.id)
                    changed.append(lead.id)

            world.deliver(world.message(), (at, name), between=change)
            lead = judge(world, f"{name} at request {at}")
            assert not changed or world.is_edited(lead.id), f"{name} at request {at}"


SEVERAL = st.lists(st.tuples(st.integers(1, 15), st.sampled_from(sorted(FAULTS))), min_size=2, max_size=5)


@settings(max_examples=examples(200))
@given(faults=SEVERAL, edits=st.booleans())
def test_several_faults_in_a_row_make_nothing_twice_and_lose_nothing(
    world: World, faults: list[tuple[int, str]], edits: bool
) -> None:
    world.begin()
    changed = set()

    def change() -> None:
        for lead in world.leads() if edits else ():
            if lead.id not in changed:
                world.edit(lead.id)
                changed.add(lead.id)

    world.deliver(world.message(), *faults, between=change)
    lead = judge(world, str(faults))
    assert lead.id not in changed or world.is_edited(lead.id), faults


def test_a_correction_after_a_fault_is_entered_once_and_overwrites_nobody(world: World) -> None:
    source = {"channel": "email", "source": "letter", "medium": "email", "campaign": "winter"}

    def correction() -> Any:
        message = world.message()
        call = {**message.call, "source": source, "status": "voicemail"}
        return replace(message, event="call.updated", call=call, earlier=world.steps, known_lead=world.known)

    world.begin()
    world.deliver(world.message())
    requests = world.deliver(correction())
    for name in ("dropped_after", "lost_on_the_way", "slow", "busy"):
        for at in range(1, requests + 1):
            for is_edited in (False, True):
                world.begin()
                world.deliver(world.message())
                (lead,) = world.leads()
                if is_edited:
                    world.edit(lead.id)
                world.deliver(correction(), (at, name))
                assert world.corrections(lead.id) == 1, f"{name} at request {at}"
                assert not is_edited or world.is_edited(lead.id), f"{name} at request {at}"
                judge(world, f"{name} at request {at}")


def test_a_replay_of_what_arrived_changes_nothing(world: World) -> None:
    world.begin()
    world.deliver(world.message())
    (lead,) = world.leads()
    world.edit(lead.id)
    world.deliver(replace(world.message(), known_lead=world.known))
    judge(world, "replayed")
    assert world.is_edited(lead.id)
    world.deliver(world.message())
    judge(world, "replayed after the database fell back")
    assert world.is_edited(lead.id)
