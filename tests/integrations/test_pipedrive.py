"""What is Pipedrive's own beside the shared suite: how callers are found, what the form is told, and what Pipedrive refuses."""

import time
from dataclasses import replace

import pytest

from router.integrations.base import DeliveryError
from router.integrations.crm.accounts import check_connection
from router.integrations.crm.connector import OWN_FIELDS, Access, Checked
from router.integrations.pipedrive import PIPEDRIVE, PipedriveSettings
from router.integrations.pipedrive.connector import PipedriveConnector
from tests.integrations.crm_world import Line
from tests.integrations.json_fake import said
from tests.integrations.pipedrive_world import ADMIN, GONE, SELLER, PipedriveFake, PipedriveWorld
from tests.people import NOW


@pytest.fixture
def world() -> PipedriveWorld:
    return PipedriveWorld()


def checked(world: PipedriveWorld, *managers: str, **config: object) -> Checked:
    line = Line(world.transport)
    return check_connection(PIPEDRIVE, line, world.config | config, world.secret, managers, NOW)


def connector(world: PipedriveWorld) -> PipedriveConnector:
    access = Access(world.config, world.secret, time.monotonic() + 15, NOW)
    return PipedriveConnector(Line(world.transport), access)


def deal(world: PipedriveWorld) -> dict[str, object]:
    (only,) = world.fake.table("deals").values()
    return only


def test_a_check_tells_whose_it_is_and_what_there_is_and_leaves_nothing(world: PipedriveWorld) -> None:
    found = checked(world, "ben@example.com")
    assert (found.account.identity, found.account.title) == ("77001", "Example Roses")
    assert not found.problems
    assert [person.value for person in found.choices.people] == ["anna@example.com", "ben@example.com"]
    assert [(stage.value, stage.within) for stage in found.choices.stages] == [("1", "1"), ("2", "1"), ("6", "2")]
    assert [choice.label for choice in found.choices.fields] == ["Call id"]
    assert {method for method, _, _ in world.fake.asked} == {"GET"}


def test_a_check_says_what_is_missing(world: PipedriveWorld) -> None:
    world.fake.table("fields").popitem()
    said = checked(world, "gerd@example.com", "nobody", pipeline="Old", fields={"f" * 40: "{visit}"}).problems
    assert said[:2] == ["the Pipedrive user “gerd@example.com” is deactivated.", "Pipedrive has no user “nobody”."]
    assert said[2:4] == [
        "pipeline_id: Pipedrive has no pipeline “Old”",
        f"Deals have no field “{'f' * 40}” in Pipedrive.",
    ]
    assert "press Make fields" in said[4]


@pytest.mark.parametrize("name", ["12", "BEN@example.com", "ben seller"])
def test_a_person_is_named_by_id_or_address_or_name(world: PipedriveWorld, name: str) -> None:
    found = connector(world).person(name)
    assert not isinstance(found, str)
    assert found.id == SELLER


def test_fields_are_made_once(world: PipedriveWorld) -> None:
    made = connector(world).make_fields(OWN_FIELDS)
    assert made.keys() == {field.name for field in OWN_FIELDS}
    assert connector(world).make_fields(OWN_FIELDS) == made
    PipedriveSettings(url="https://x.pipedrive.com", key="k", fields=dict.fromkeys(made.values(), "{visit}"))
    world.fake = PipedriveFake()
    world.transport = world.fake
    world.fake.may_add_fields = False
    with pytest.raises(DeliveryError, match="permissions") as refused:
        connector(world).make_fields(OWN_FIELDS)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("typed", "is_found"),
    [("030 7664398", True), ("+49 30 7664398 (Kern)", True), ("0049307664398", True), ("+39 030 7664398", False)],
)
def test_a_person_with_the_number_in_any_form_gets_the_deal(world: PipedriveWorld, typed: str, is_found: bool) -> None:
    world.caller = "+49307664398"
    person = world.fake.next_id()
    phones = [{"value": typed, "primary": True, "label": "work"}]
    world.fake.table("persons")[person] = {"id": person, "name": "Kern", "phones": phones, "owner_id": ADMIN}
    world.deliver(world.message(config=world.config | {"fields": {}, "only_new_customers": False}))
    assert (deal(world)["person_id"] == person) is is_found


def test_a_lost_deal_comes_back_where_the_settings_say_so(world: PipedriveWorld) -> None:
    world.deliver(world.message())
    deal(world).update(status="lost", is_archived=True)
    config = world.config | {"fields": {}, "reopen_lost": True}
    again = world.message(config=config)
    world.deliver(replace(again, call=again.call | {"sid": "CA2"}, known_lead=world.known))
    assert (deal(world)["status"], deal(world)["is_archived"]) == ("open", False)


def test_what_pipedrive_refuses_is_left_out_and_told(world: PipedriveWorld) -> None:
    gone = "e" * 40
    config = world.config | {"fields": {gone: "{visit}x", "name": "Call {phone}"}, "stage": "99"}
    world.attempt(world.message(config=config), Line(world.transport))
    assert (deal(world)["title"], deal(world)["stage_id"]) == (f"Call {world.caller}", 1)
    assert gone in str(world.steps["warning"])


def test_without_our_field_the_title_carries_the_calls_id(world: PipedriveWorld) -> None:
    world.fake.table("fields").popitem()
    world.deliver(world.message(), (9, "dropped_after"))
    assert str(deal(world)["title"]).endswith(f"({world.message().call['sid']})")


def test_a_full_plan_pauses_the_account_and_loses_nothing(world: PipedriveWorld) -> None:
    words = "Couldn't add the deal. Open deals limit reached."
    document = {"success": False, "error": words, "error_info": "Please check.", "code": "feature_capping_deals_limit"}
    requests = [path for _, path, _ in world.fake.asked]
    world.attempt(world.message(), Line(world.transport))
    at = [path for _, path, _ in world.fake.asked[len(requests) :]].index("/api/v2/deals") + 1
    world.begin()
    with pytest.raises(DeliveryError, match="limit reached") as refused:
        world.attempt(world.message(), Line(world.transport, at, said(403, document)))
    assert refused.value.refused_account
    assert not refused.value.permanent


def test_an_open_deal_gets_the_call_and_keeps_its_owner(world: PipedriveWorld) -> None:
    world.deliver(world.message())
    deal(world)["owner_id"] = ADMIN
    again = world.message()
    world.deliver(replace(again, call=again.call | {"sid": "CA2"}))
    activities = world.fake.table("activities").values()
    assert [activity["owner_id"] for activity in activities if not activity["done"]] == [SELLER, ADMIN]
    assert deal(world)["owner_id"] == ADMIN
    assert GONE not in {activity["owner_id"] for activity in activities}
