"""What is Kommo's own beside the shared suite: how callers are found, what the form is told, and what Kommo refuses."""

import time
from dataclasses import replace
from typing import Any

import pytest

from router.integrations.base import DeliveryError
from router.integrations.crm.accounts import check_connection
from router.integrations.crm.connector import OWN_FIELDS, Access, Checked
from router.integrations.kommo import KOMMO, KommoSettings
from router.integrations.kommo.connector import KommoConnector
from tests.integrations.crm_world import Line
from tests.integrations.kommo_world import ADMIN, PHONE_FIELD, SELLER, KommoFake, KommoWorld
from tests.people import NOW


@pytest.fixture
def world() -> KommoWorld:
    return KommoWorld()


def checked(world: KommoWorld, *managers: str, **config: object) -> Checked:
    return check_connection(KOMMO, Line(world.transport), world.config | config, world.secret, managers, NOW)


def connector(world: KommoWorld) -> KommoConnector:
    return KommoConnector(Line(world.transport), Access(world.config, world.secret, time.monotonic() + 15, NOW))


def lead(world: KommoWorld) -> dict[str, Any]:
    (only,) = world.fake.table("leads").values()
    return only


def test_a_token_of_a_thousand_signs_is_taken_and_an_address_is_its_host() -> None:
    typed = KommoSettings(url="https://roses.kommo.com/leads/pipeline/20", key="e" * 1100)
    assert typed.url == "https://roses.kommo.com"


def test_a_check_tells_whose_it_is_and_what_there_is_and_leaves_nothing(world: KommoWorld) -> None:
    found = checked(world, "ben@example.com")
    assert (found.account.identity, found.account.title, found.problems) == ("31415926", "Example Roses", [])
    assert [person.value for person in found.choices.people] == ["anna@example.com", "ben@example.com"]
    assert [pipeline.label for pipeline in found.choices.pipelines] == ["Sales", "Service"]
    assert ("22", "20") in [(stage.value, stage.within) for stage in found.choices.stages]
    assert "21" not in [stage.value for stage in found.choices.stages], "nothing can be moved into incoming leads"
    assert [choice.label for choice in found.choices.fields] == ["Call id"]
    assert {method for method, _, _ in world.fake.asked} == {"GET"}


def test_a_check_says_what_is_missing(world: KommoWorld) -> None:
    world.fake.table("fields").popitem()
    problems = checked(world, "gerd@example.com", "nobody", pipeline="Old", stage="").problems
    assert problems[:2] == ["the Kommo user “gerd@example.com” is deactivated.", "Kommo has no user “nobody”."]
    assert problems[2] == "pipeline_id: Kommo has no pipeline “Old”"
    assert "press Make fields" in problems[3]


@pytest.mark.parametrize("name", ["502", "BEN@example.com", "ben seller"])
def test_a_person_is_named_by_id_or_address_or_name(world: KommoWorld, name: str) -> None:
    found = connector(world).person(name)
    assert not isinstance(found, str)
    assert found.id == SELLER


def test_fields_are_made_once(world: KommoWorld) -> None:
    made = connector(world).make_fields(OWN_FIELDS)
    assert made.keys() == {field.name for field in OWN_FIELDS}
    assert connector(world).make_fields(OWN_FIELDS) == made
    KommoSettings(url="https://x.kommo.com", key="k", fields=dict.fromkeys(made.values(), "{visit}"))
    world.fake = KommoFake()
    world.transport = world.fake
    world.fake.may_add_fields = False
    with pytest.raises(DeliveryError, match="Not enough rights") as refused:
        connector(world).make_fields(OWN_FIELDS)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("typed", "is_found"), [("030 7664398", True), ("+49 (30) 766-43-98", True), ("+39 030 7664398", False)]
)
def test_a_contact_with_the_number_in_any_form_gets_the_lead(world: KommoWorld, typed: str, is_found: bool) -> None:
    world.caller = "+49307664398"
    number = world.fake.next_id()
    phone = {"field_id": PHONE_FIELD, "field_code": "PHONE", "values": [{"value": typed, "enum_code": "WORK"}]}
    contact = {"id": number, "name": "Kern", "responsible_user_id": ADMIN, "custom_fields_values": [phone]}
    world.fake.table("contacts")[number] = contact
    world.deliver(world.message(config=world.config | {"fields": {}, "only_new_customers": False}))
    assert (lead(world)["_embedded"]["contacts"] == [{"id": number}]) is is_found


def test_a_lost_lead_comes_back_where_the_settings_say_so(world: KommoWorld) -> None:
    world.deliver(world.message())
    lead(world)["status_id"] = 143
    again = world.message(config=world.config | {"fields": {}, "reopen_lost": True})
    world.deliver(replace(again, call=again.call | {"sid": "CA2"}, known_lead=world.known))
    assert lead(world)["status_id"] == 22


def test_what_kommo_refuses_is_left_out_and_told(world: KommoWorld) -> None:
    config = world.config | {"fields": {"77777": "{visit}x", "name": "Call {phone}"}, "stage": "Old"}
    world.attempt(world.message(config=config), Line(world.transport))
    assert (lead(world)["name"], lead(world)["status_id"]) == (f"Call {world.caller}", 22)
    assert "77777" in str(world.steps["warning"])
    assert "no stage “Old”" in str(world.steps["warning"])
    assert (
        world.fake.table("fields")[lead(world)["custom_fields_values"][-1]["field_id"]]["code"] == "CALLTRACK_CALL_ID"
    )


def test_a_dismissed_person_costs_the_owner_and_not_the_lead(world: KommoWorld) -> None:
    found = connector(world).person("ben@example.com")
    world.fake.table("users")[SELLER]["rights"]["is_active"] = True
    assert not isinstance(found, str)
    line = Line(world.transport)
    world.fake.table("users")[SELLER]["rights"]["is_active"] = False
    world.attempt(world.message(), line)
    assert lead(world)["responsible_user_id"] == ADMIN
    assert "deactivated" in str(world.steps["warning"])


def test_a_recording_that_comes_late_stands_at_the_call(world: KommoWorld) -> None:
    world.deliver(world.message())
    message = world.message()
    recording = {"state": "kept", "page": "https://calls.example.com/r/1"}
    call = {**message.call, "recording": recording, "duration": 63, "status": "answered"}
    world.deliver(replace(message, event="call.updated", call=call, earlier=world.steps, known_lead=world.known))
    (params,) = world.notes(lead(world)["id"], "call_in")
    assert (params["link"], params["duration"]) == ("https://calls.example.com/r/1", 63)
    assert world.corrections(lead(world)["id"]) == 1


def test_a_lead_without_a_name_belongs_to_the_token_and_not_to_nobody(world: KommoWorld) -> None:
    world.manager = ""
    world.deliver(world.message())
    assert lead(world)["responsible_user_id"] == ADMIN
    assert not KommoSettings.falls_to_nobody
