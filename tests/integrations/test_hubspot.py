"""What is HubSpot's own beside the shared suite: how callers are found though its search lags, what the form is told, what stays as people
made it, and what HubSpot refuses."""

import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from router.integrations.base import DeliveryError, Message
from router.integrations.crm.accounts import check_connection
from router.integrations.crm.connector import OWN_FIELDS, Access, Caller, Checked, Record
from router.integrations.crm.matching import Match
from router.integrations.hubspot import HUBSPOT, HubSpotSettings
from router.integrations.hubspot.client import KEY
from router.integrations.hubspot.connector import HubSpotConnector
from tests.integrations.crm_world import Line
from tests.integrations.hubspot_world import HubSpotWorld, said
from tests.people import NOW


@pytest.fixture
def world() -> HubSpotWorld:
    return HubSpotWorld()


def checked(world: HubSpotWorld, *managers: str, **config: object) -> Checked:
    return check_connection(HUBSPOT, Line(world.transport), world.config | config, world.secret, managers, NOW)


def connector(world: HubSpotWorld, **config: object) -> HubSpotConnector:
    access = Access(world.config | config, world.secret, time.monotonic() + 15, NOW)
    return HubSpotConnector(Line(world.transport), access)


def contact(world: HubSpotWorld, **properties: str) -> str:
    _, made = world.fake.create({}, {"properties": properties}, "contacts")
    world.fake.index()
    return str(made["id"])


def deal(world: HubSpotWorld, of: str, stage: str = "new") -> str:
    way = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}
    properties = {"dealname": "Roses", "pipeline": "default", "dealstage": stage}
    body = {"properties": properties, "associations": [{"to": {"id": of}, "types": [way]}]}
    return str(world.fake.create({}, body, "deals")[1]["id"])


def only(world: HubSpotWorld, kind: str) -> dict[str, str]:
    (record,) = world.fake.records[kind].values()
    return record


def ended(world: HubSpotWorld, **call: Any) -> Message:
    message = world.message()
    return replace(message, call={**message.call, **call})


def test_a_check_tells_whose_it_is_and_what_there_is_and_leaves_nothing(world: HubSpotWorld) -> None:
    connector(world).make_fields(OWN_FIELDS)
    found = checked(world, "bert@garden.example", fields={"calltrack_visit": "{visit}"})
    assert found.account.identity == "4711"
    assert not found.problems
    assert [person.value for person in found.choices.people] == ["anna@garden.example", "bert@garden.example"]
    stages = [(stage.value, stage.within) for stage in found.choices.stages]
    assert stages == [(name, "default") for name in ("new", "talking", "won", "lost")]
    assert "calltrack_visit" in {choice.value for choice in found.choices.fields}
    assert not any(world.fake.records.values())


def test_a_check_says_what_is_missing(world: HubSpotWorld) -> None:
    problems = checked(world, "carl", pipeline="Old", fields={"colour": "{visit}"}).problems
    assert problems[:2] == ["HubSpot has no active user “carl”.", "HubSpot has no pipeline “Old”."]
    assert "property “calltrack_key” for contacts" in problems[2]
    assert "the field “colour” of deals" in problems[3]
    assert problems[4].endswith("press “Make fields in the CRM”.")
    assert "belongs to the HubSpot account 4711, not to 12" in checked(world, portal="12").problems[0]
    world.fake.scopes -= {"deals.write"}
    assert any("scope crm.objects.deals.write" in words for words in checked(world).problems)
    world.fake.scopes -= {"contacts.read"}
    assert [words.split(".")[0] for words in checked(world).problems] == [
        f"This key may not read {kind}" for kind in ("contacts", "calls", "notes", "tasks")
    ]
    assert not any(world.fake.records.values())


def test_a_wrong_key_is_said_without_the_key(world: HubSpotWorld) -> None:
    words = f"The token {world.secret} is expired"
    answer = said(401, category="EXPIRED_AUTHENTICATION", message=words)
    world.transport = lambda *_: answer
    with pytest.raises(DeliveryError, match=r"The token \[secret\] is expired") as refused:
        checked(world)
    assert refused.value.refused_account
    assert not refused.value.permanent
    assert world.secret not in refused.value.answer


@pytest.mark.parametrize("name", ["502", "BERT@garden.example", "bert moos"])
def test_a_person_is_named_by_id_or_address_or_name(world: HubSpotWorld, name: str) -> None:
    found = connector(world).person(name)
    assert not isinstance(found, str)
    assert (found.id, found.name) == ("502", "Bert Moos")


def test_fields_are_made_once(world: HubSpotWorld) -> None:
    made = connector(world).make_fields(OWN_FIELDS)
    assert made.keys() == {field.name for field in OWN_FIELDS}
    assert connector(world).make_fields(OWN_FIELDS) == made
    assert world.fake.unique["deals"] == world.fake.unique["contacts"] == {KEY}
    HubSpotSettings(portal="1", key="k", fields=dict.fromkeys(made.values(), "{visit}"))
    with pytest.raises(ValidationError):
        HubSpotSettings(portal="1", key="k", fields={KEY: "{visit}"})


def test_a_key_that_may_not_make_the_property_pauses_the_account_and_loses_nothing(world: HubSpotWorld) -> None:
    world.fake.scopes -= {"schemas.write"}
    with pytest.raises(DeliveryError) as refused:
        world.attempt(world.message(), Line(world.transport))
    assert refused.value.refused_account
    assert not any(world.fake.records.values())
    world.fake.scopes |= {"schemas.write"}
    world.deliver(replace(world.message(), reference=world.steps))
    assert only(world, "deals")[KEY] == only(world, "contacts")[KEY]


@pytest.mark.parametrize(
    ("properties", "how"),
    [
        ({"phone": "+49 30 7664398"}, Match.TYPED),
        ({"phone": "030 / 766 43 98"}, Match.TYPED),
        ({"mobilephone": "(030) 7664398"}, Match.TYPED),
        ({"phone": "030 7664398-12"}, Match.EXTENSION),
        ({"phone": "+43 30 7664398"}, None),
        ({"phone": "030 17664398"}, None),
    ],
)
def test_a_caller_is_found_by_what_stands_in_phone_fields(
    world: HubSpotWorld, properties: dict[str, str], how: Match | None
) -> None:
    number = contact(world, **properties)
    opened, lost = deal(world, number), deal(world, number, "lost")
    parts = list(connector(world).find(Caller("+49307664398", None, "DE")))
    assert [(one.id, one.match) for one in parts[-1].contacts] == ([(number, how)] if how is not None else [])
    leads = {lead.id: (lead.is_open, lead.is_hidden) for lead in parts[-1].leads}
    assert leads == ({opened: (True, False), lost: (False, True)} if how is not None else {})


def test_a_second_call_before_the_search_knows_the_first_finds_its_contact(world: HubSpotWorld) -> None:
    world.deliver(world.message())
    (number,) = world.fake.records["deals"]
    world.fake.records["deals"][number]["dealstage"] = "lost"
    second = replace(ended(world, sid="CA" + "2" * 32), known_lead=world.known)
    world.deliver(second)
    assert len(world.fake.records["deals"]) == 2
    assert len(world.fake.records["contacts"]) == 1
    assert len(world.fake.records["calls"]) == 2


def test_a_lost_deal_comes_back_to_the_first_open_stage(world: HubSpotWorld) -> None:
    lost = deal(world, contact(world, phone=world.caller), "lost")
    world.config["reopen_lost"] = True
    world.deliver(world.message())
    assert world.fake.records["deals"][int(lost)]["dealstage"] == "new"
    assert len(world.leads()) == 1


def test_a_call_has_its_length_its_outcome_and_its_recording(world: HubSpotWorld) -> None:
    recording = {"state": "kept", "page": "https://calls.example.com/recordings/1"}
    world.deliver(ended(world, status="answered", duration=72, recording=recording))
    call = only(world, "calls")
    assert (call["hs_call_duration"], call["hs_call_status"]) == ("72000", "COMPLETED")
    assert (call["hs_call_direction"], call["hs_call_to_number"]) == ("INBOUND", "+14155550100")
    assert call["hs_call_recording_url"] == recording["page"]
    assert (call["hs_timestamp"], call["hubspot_owner_id"]) == ("2026-11-23T12:00:00.000Z", "501")
    of_call = {(link[2]) for link in world.fake.links if link[0] == "calls"}
    assert of_call == {"deals", "contacts"}


def test_what_people_wrote_into_a_call_and_the_outcome_they_chose_stay(world: HubSpotWorld) -> None:
    world.deliver(world.message())
    call = only(world, "calls")
    ours = call["hs_call_disposition"]
    call["hs_call_body"] += "<p>She wants them red.</p>"
    later = replace(ended(world, status="voicemail"), event="call.updated", earlier=world.steps, known_lead=world.known)
    world.deliver(later)
    assert "She wants them red." in call["hs_call_body"]
    assert "voicemail" in call["hs_call_body"]
    assert call["hs_call_disposition"] != ours
    call["hs_call_disposition"] = "an-outcome-of-their-own"
    world.deliver(replace(later, call={**later.call, "status": "answered", "duration": 9}))
    assert (call["hs_call_disposition"], call["hs_call_duration"]) == ("an-outcome-of-their-own", "9000")


def test_a_field_that_a_rule_refuses_is_left_out_and_told(world: HubSpotWorld) -> None:
    world.fake.rules["amount"] = "An amount needs an approval."
    answer = world.attempt(
        replace(world.message(), config=world.config | {"fields": {"amount": "5"}}), Line(world.transport)
    )
    assert "An amount needs an approval." in answer["warning"]
    assert "amount" not in only(world, "deals")


def test_where_an_entry_went_when_its_deal_was_merged(world: HubSpotWorld) -> None:
    world.deliver(world.message())
    world.fake.index()
    (number,) = world.fake.records["deals"]
    other = int(deal(world, str(next(iter(world.fake.records["contacts"])))))
    (call,) = world.fake.records["calls"]
    world.fake.links.add(("calls", call, "deals", other))
    del world.fake.records["deals"][number]
    moved = connector(world).moved
    assert moved(f"Call id: {world.message().call['sid']}") == Record("deals", str(other))
    assert moved(f"Call from {world.caller} to ") == Record("deals", str(other))
    assert moved("Call id: CA0") is None


def test_a_named_phone_property_counts_and_one_that_is_gone_costs_no_lead(world: HubSpotWorld) -> None:
    world.config["phone_fields"] = "second_phone"
    assert "HubSpot has no property “second_phone” for contacts." in checked(world).problems
    world.deliver(world.message())
    assert len(world.leads()) == 1
    world.begin()
    world.fake.properties["contacts"]["second_phone"] = ""
    contact(world, second_phone=world.caller)
    world.deliver(world.message())
    assert len(world.fake.records["contacts"]) == 1
    assert not world.fake.records["deals"]


@pytest.mark.parametrize("lists_errors", [True, False])
@pytest.mark.parametrize("status", [400, 404])
def test_the_key_is_made_by_the_first_call_however_hubspot_says_that_it_is_not_there(
    world: HubSpotWorld, lists_errors: bool, status: int
) -> None:
    world.fake.lists_errors, world.fake.unknown_property = lists_errors, status
    world.deliver(world.message())
    assert only(world, "deals")[KEY] == only(world, "contacts")[KEY]


def test_an_entry_is_found_among_many(world: HubSpotWorld) -> None:
    world.deliver(world.message())
    (number,) = world.fake.records["deals"]
    ours = str(next(iter(world.fake.records["calls"])))
    way = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 206}]
    for _ in range(25):
        properties = {"hs_timestamp": "2026-11-24T08:00:00Z", "hs_call_body": "rang her " + "and talked " * 500}
        to = [{"to": {"id": str(number)}, "types": way}]
        world.fake.create({}, {"properties": properties, "associations": to}, "calls")
    mark = f"Call id: {world.message().call['sid']}"
    assert connector(world).own("call", "", mark, Record("deals", str(number))) == ours
    assert connector(world).own("call", "", "Call id: CAx", Record("deals", str(number))) is None


@pytest.mark.parametrize("lists_errors", [True, False])
def test_a_deal_that_is_there_already_is_taken(world: HubSpotWorld, lists_errors: bool) -> None:
    world.fake.lists_errors = lists_errors
    made = connector(world)
    made.make_fields(())
    values = {"dealname": "Roses", "pipeline": "default", "dealstage": "new"}
    first = made.create_lead("CA1", values)
    assert made.create_lead("CA1", values) == first
    assert len(world.fake.records["deals"]) == 1


@pytest.mark.parametrize("portal", ["", "abc", "12 34", "٣", "1" * 21])
def test_an_account_is_a_number(portal: str) -> None:
    with pytest.raises(ValidationError):
        HubSpotSettings(portal=portal, key="k")
