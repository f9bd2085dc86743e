"""What is Salesforce's own beside the shared suite: tokens, how callers are found, converted leads, what the form is told, and what
Salesforce refuses."""

import time
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from router.integrations.base import DeliveryError, Message
from router.integrations.crm.accounts import check_connection
from router.integrations.crm.connector import OWN_FIELDS, Access, Caller, Checked, Record
from router.integrations.crm.matching import Match
from router.integrations.salesforce import SALESFORCE, SalesforceSettings
from router.integrations.salesforce.client import KEY
from router.integrations.salesforce.connector import SalesforceConnector
from tests.integrations.crm_world import Line
from tests.integrations.salesforce_fake import ANNA, BERT, ORGANIZATION, STATUSES
from tests.integrations.salesforce_world import SalesforceWorld
from tests.people import NOW


@pytest.fixture
def world() -> SalesforceWorld:
    return SalesforceWorld()


def checked(world: SalesforceWorld, *managers: str, **config: object) -> Checked:
    return check_connection(SALESFORCE, Line(world.transport), world.config | config, world.secret, managers, NOW)


def connector(world: SalesforceWorld, **config: object) -> SalesforceConnector:
    access = Access(world.config | config, world.secret, time.monotonic() + 15, NOW)
    return SalesforceConnector(Line(world.transport), access)


def only(world: SalesforceWorld, sobject: str) -> dict[str, Any]:
    (record,) = world.fake.tables[sobject].values()
    return record


def found(world: SalesforceWorld, caller: str, known: str | None = None) -> tuple[dict[Any, Any], dict[Any, Any]]:
    world.fake.index()
    parts = list(connector(world).find(Caller(caller, known, "DE")))
    leads = {lead.id: (lead.is_open, lead.is_hidden) for part in reversed(parts) for lead in part.leads}
    return leads, {contact.id: contact.match for part in reversed(parts) for contact in part.contacts}


def ended(world: SalesforceWorld, **call: Any) -> Message:
    message = world.message()
    return replace(message, call={**message.call, **call})


def test_a_check_tells_whose_it_is_and_what_there_is_and_leaves_nothing(world: SalesforceWorld) -> None:
    connector(world).make_fields(OWN_FIELDS)
    checks = checked(world, "bert@garden.example", fields={"Calltrack_Visit__c": "{visit}"})
    assert checks.account.identity == ORGANIZATION
    assert not checks.problems
    people = {person.value for person in checks.choices.people}
    assert people == {"call@garden.example", "anna@garden.example", "bert@garden.example"}
    assert [stage.value for stage in checks.choices.stages] == [
        name for name in STATUSES if name != "Closed - Converted"
    ]
    assert "Calltrack_Visit__c" in {choice.value for choice in checks.choices.fields}
    assert not world.fake.tables["Lead"]
    assert not world.fake.tables["Task"]


def test_a_check_says_what_is_missing(world: SalesforceWorld) -> None:
    problems = checked(
        world, "gerd@garden.example", stage="Old", fields={"Colour__c": "x"}, phone_fields="Fon__c"
    ).problems
    assert problems[0] == "“gerd@garden.example” is no active user of Salesforce any more."
    assert problems[1] == "Salesforce has no lead status “Old”."
    assert problems[2] == "Leads have no field “Fon__c” in Salesforce."
    assert KEY in problems[3]
    assert "No such column 'Colour__c'" in problems[4]
    assert not world.fake.tables["Lead"]


def test_a_wrong_secret_is_said_without_it(world: SalesforceWorld) -> None:
    world.secret = "another-secret"
    with pytest.raises(DeliveryError, match="invalid_client") as refused:
        checked(world)
    assert refused.value.refused_account
    assert "another-secret" not in str(refused.value) + refused.value.answer


def test_an_old_token_is_renewed_once_and_the_request_repeated(world: SalesforceWorld) -> None:
    world.deliver(world.message())
    world.fake.token = "00D!token.2"
    world.fake.asked.clear()
    world.deliver(ended(world, sid="CA" + "2" * 32))
    assert [path for _, path in world.fake.asked].count("/services/oauth2/token") == 1
    assert len(world.fake.tables["Task"]) == 4


@pytest.mark.parametrize("name", [BERT, "BERT@garden.example", "bert@mail.example", "bert moos"])
def test_a_person_is_named_by_id_or_address_or_name(world: SalesforceWorld, name: str) -> None:
    person = connector(world).person(name)
    if name == BERT:  # as ids are there, of 15 or 18 letters
        number = "005" + "x" * 12
        world.fake.tables["User"][number] = {**world.fake.tables["User"][BERT], "Id": number}
        person = connector(world).person(number)
    assert not isinstance(person, str)
    assert person.name == "Bert Moos"
    assert connector(world).person("x' OR Name != '") == "Salesforce has no user “x' OR Name != '”"


def test_fields_are_made_once_and_may_be_seen(world: SalesforceWorld) -> None:
    made = connector(world).make_fields(OWN_FIELDS)
    assert made.keys() == {field.name for field in OWN_FIELDS}
    assert connector(world).make_fields(OWN_FIELDS) == made
    assert world.fake.seen == {KEY, *made.values()}
    assert [name for name, is_unique in world.fake.custom.items() if is_unique] == [KEY]
    assert len(world.fake.tables["PermissionSet"]) == len(world.fake.tables["PermissionSetAssignment"]) == 1
    more = {"url": "https://x.my.salesforce.com", "client_id": "3MVG9abcdef", "key": "k"}
    SalesforceSettings(**more, fields=dict.fromkeys(made.values(), "{visit}"))
    for wrong in (KEY, "Colour__r.Name", "OwnerId"):
        with pytest.raises(ValidationError):
            SalesforceSettings(**more, fields={wrong: "{visit}"})


def test_a_key_that_may_not_make_the_field_pauses_the_account_and_loses_nothing(world: SalesforceWorld) -> None:
    world.fake.may_customize = False
    with pytest.raises(DeliveryError, match=KEY) as refused:
        world.attempt(world.message(), Line(world.transport))
    assert refused.value.refused_account
    assert not world.fake.tables["Lead"]
    world.fake.may_customize = True
    world.deliver(replace(world.message(), reference=world.steps))
    assert only(world, "Lead")[KEY]


@pytest.mark.parametrize(
    ("values", "how"),
    [
        ({"Phone": "+49307664398"}, Match.KNOWN),
        ({"Phone": "0049307664398"}, Match.KNOWN),
        ({"Phone": "+49 30 766-4398"}, Match.TYPED),
        ({"MobilePhone": "(030) 7664398"}, Match.TYPED),
        ({"HomePhone": "030/7664398"}, Match.TYPED),
        ({"Phone": "+43 30 7664398"}, None),
        ({"Phone": "030 7664399"}, None),
    ],
)
def test_a_caller_is_found_by_what_stands_in_phone_fields(
    world: SalesforceWorld, values: dict[str, str], how: Match | None
) -> None:
    contact = world.fake.make("Contact", LastName="Kern", **values)
    lost = world.fake.make("Opportunity", Name="Roses", IsClosed=True, IsWon=False)
    world.fake.make("OpportunityContactRole", OpportunityId=lost, ContactId=contact)
    leads, contacts = found(world, "+49307664398")
    assert contacts == ({contact: how} if how is not None else {})
    assert leads == ({lost: (False, True)} if how is not None else {})


def test_a_lead_counts_by_its_status_and_a_converted_one_by_what_it_became(world: SalesforceWorld) -> None:
    phone = "+49307664398"
    opened, lost, one, two = (world.fake.make("Lead", LastName="K", Company="C", Phone=phone) for _ in range(4))
    world.fake.tables["Lead"][lost]["Status"] = "Closed - Not Converted"
    _, opportunity = world.fake.convert(one)
    contact, _ = world.fake.convert(two, with_opportunity=False)
    leads, contacts = found(world, phone)
    assert leads == {opened: (True, False), lost: (False, True), opportunity: (True, False)}
    assert contact in contacts
    leads, _ = found(world, "+4930111222", opportunity)
    assert leads == {opportunity: (True, False)}


def test_calls_and_corrections_follow_a_lead_that_was_converted(world: SalesforceWorld) -> None:
    world.deliver(world.message())
    first, (lead,) = dict(world.steps), world.fake.tables["Lead"]
    _, opportunity = world.fake.convert(lead)
    later = replace(ended(world, status="voicemail"), event="call.updated", earlier=first, known_lead=world.known)
    world.deliver(later)
    calls = [task for task in world.fake.tables["Task"].values() if task["Status"] == "Completed"]
    assert [task["CallDisposition"] for task in calls] == ["Voicemail"]
    world.deliver(replace(ended(world, sid="CA" + "2" * 32), known_lead=lead))
    assert {task.get("WhatId") for task in world.fake.tables["Task"].values()} == {opportunity}
    assert len(world.fake.tables["Lead"]) == len(world.fake.tables["Contact"]) == 1
    assert connector(world).own("lead", world.message().call["sid"], "", None) == opportunity
    assert connector(world).moved(f"Call from {world.caller} to ") == Record("Lead", str(opportunity))


def test_assignment_rules_choose_where_nobody_is_named(world: SalesforceWorld) -> None:
    world.fake.rule_assigns_to = BERT
    world.deliver(world.message())
    assert only(world, "Lead")["OwnerId"] == ANNA
    world.begin()
    world.deliver(world.message(managers=()))
    assert only(world, "Lead")["OwnerId"] == BERT


def test_a_lost_lead_gets_the_status_of_new_ones(world: SalesforceWorld) -> None:
    world.config["reopen_lost"] = True
    lead = world.fake.make("Lead", LastName="K", Company="C", Phone=world.caller, OwnerId=ANNA)
    world.fake.tables["Lead"][lead]["Status"] = "Closed - Not Converted"
    world.deliver(world.message())
    assert only(world, "Lead")["Status"] == STATUSES[0]


def test_a_lost_opportunity_gets_the_first_open_stage(world: SalesforceWorld) -> None:
    world.config["reopen_lost"] = True
    contact = world.fake.make("Contact", LastName="Kern", Phone=world.caller)
    lost = world.fake.make("Opportunity", Name="Roses", IsClosed=True, IsWon=False, StageName="Closed Lost")
    world.fake.make("OpportunityContactRole", OpportunityId=lost, ContactId=contact)
    world.deliver(world.message())
    assert only(world, "Opportunity")["StageName"] == "Prospecting"
    assert not world.fake.tables["Lead"]


def test_a_call_has_its_length_its_result_and_its_recording(world: SalesforceWorld) -> None:
    recording = {"state": "kept", "page": "https://calls.example.com/recordings/1"}
    world.deliver(ended(world, status="answered", duration=72, recording=recording))
    task = only(world, "Task")
    assert (task["CallDurationInSeconds"], task["CallDisposition"], task["CallType"]) == (72, "Answered", "Inbound")
    assert f"Recording: {recording['page']}" in task["Description"].splitlines()
    assert (task["ActivityDate"], task["OwnerId"], task["Status"]) == ("2026-11-23", ANNA, "Completed")
    assert only(world, "Lead")["LastName"] == f"Call from {world.caller}"


def test_what_people_wrote_into_a_call_and_the_result_they_chose_stay(world: SalesforceWorld) -> None:
    world.deliver(world.message())
    (call,) = (task for task in world.fake.tables["Task"].values() if task["Status"] == "Completed")
    call["Description"] += "\nShe wants them red."
    call["CallDisposition"] = "Interested"
    later = replace(ended(world, status="voicemail"), event="call.updated", earlier=world.steps, known_lead=world.known)
    world.deliver(later)
    assert "She wants them red." in call["Description"]
    assert "voicemail" in call["Description"]
    assert call["CallDisposition"] == "Interested"


def test_a_field_that_is_refused_is_left_out(world: SalesforceWorld) -> None:
    world.fake.blocks_statuses = True
    config = world.config | {"fields": {"Colour__c": "red", "LastName": "x" * 100}}
    answer = world.attempt(replace(world.message(), config=config), Line(world.transport))
    assert "Colour__c" in answer["warning"]
    assert only(world, "Lead")["LastName"] == "x" * 80
    assert [task.get("Status") for task in world.fake.tables["Task"].values()] == [None, None]


def test_a_named_phone_field_that_is_gone_costs_no_lead(world: SalesforceWorld) -> None:
    world.config["phone_fields"] = "Fon__c"
    world.deliver(world.message())
    assert len(world.leads()) == 1


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("https://garden.lightning.force.com/lightning/page/home", "https://garden.my.salesforce.com"),
        ("https://garden.my.salesforce.com/", "https://garden.my.salesforce.com"),
    ],
)
def test_an_address_copied_from_the_browser_leads_to_the_api(typed: str, kept: str) -> None:
    assert SalesforceSettings(url=typed, client_id="3MVG9abcdef", key="k").url == kept
