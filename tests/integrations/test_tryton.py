"""R10: what of Tryton's own data model the shared suite does not go through: against our stand-in, and the real one when it is there."""

import time
from dataclasses import replace
from typing import Any

import pytest

from router.integrations.base import DeliveryError
from router.integrations.crm.accounts import check_connection
from router.integrations.crm.connector import OWN_FIELDS, Access, Checked
from router.integrations.tryton import TRYTON, TrytonSettings
from router.integrations.tryton.connector import TrytonConnector
from tests.integrations.crm_world import Line
from tests.integrations.tryton import REAL
from tests.integrations.tryton_world import TrytonWorld
from tests.people import NOW


@pytest.fixture(scope="module", params=["stand-in", "real"] if all(REAL.values()) else ["stand-in"])
def product(request: pytest.FixtureRequest) -> TrytonWorld:
    return TrytonWorld(is_real=request.param == "real")


@pytest.fixture
def world(product: TrytonWorld) -> TrytonWorld:
    product.begin()
    return product


def check(world: TrytonWorld, key: str = "calltracking", manager: str = "anna", **config: Any) -> Checked:
    settings = {**world.config, **config}
    return check_connection(TRYTON, Line(world.transport), settings, world.keys[key], [manager], NOW)


def count(world: TrytonWorld, model: str) -> int:
    return len(world.search(model, [], ["id"]))


def entered(world: TrytonWorld, **config: Any) -> dict[str, Any]:
    """A call of the caller; what its delivery remembers."""
    message = replace(world.message(), config={**world.config, "fields": {}, **config}, reference={})
    world.attempt(message, Line(world.transport))
    return world.steps


def customer(world: TrytonWorld, phone: str) -> int:
    """A party that people have made."""
    mechanism = {"type": "phone", "value": phone}
    values = {"name": "Frau Kern", "contact_mechanisms": [["create", [mechanism]]]}
    (party,) = world.ask("party.party", "create", user="calltracking", vlist=[values])
    return int(party)


def test_a_check_says_whose_it_is_and_what_there_is_and_leaves_nothing(world: TrytonWorld) -> None:
    before = [count(world, model) for model in ("party.party", "sale.opportunity")]
    checked = check(world)
    assert checked.problems == []
    assert checked.account.title.startswith("Garden GmbH at 127.0.0.1:")
    assert [(person.value, person.label) for person in checked.choices.people] == [
        ("anna", "Anna Sellers (anna)"),
        ("ben", "Ben Sellers (ben)"),
    ]
    assert [company.label for company in checked.choices.pipelines] == ["Garden GmbH"]
    fields = {field.value for field in checked.choices.fields}
    assert {"description", "comment"} <= fields
    assert not fields & {"reference", "state", "amount", "number"}
    assert [count(world, model) for model in ("party.party", "sale.opportunity")] == before


def test_an_account_is_known_by_its_database_and_company_whatever_its_key(world: TrytonWorld) -> None:
    identity = check(world).account.identity
    assert identity is not None
    assert len(identity) == 32
    assert check(world, "anna").account.identity == check(world, company="Garden GmbH").account.identity == identity
    assert check(world, "other").account.identity not in (None, identity)


def test_what_a_key_may_not_do_is_said_in_words(world: TrytonWorld) -> None:
    (said,) = check(world, "none").problems
    assert said == (
        "This key may not read opportunities (sale.opportunity). Give its user the group “Sale Opportunity”."
    )
    assert check(world, "other").problems == ["Tryton has no employee “anna”."]
    assert check(world, fields={"no_such_field": "x"}).problems == [
        "no_such_field: “no_such_field”: there is no such field"
    ]


def test_a_wrong_key_database_or_company_concerns_the_account(world: TrytonWorld) -> None:
    for config, key in (
        ({}, "wrong"),
        ({"database": "nowhere"}, ""),
        ({"company": "Other AG"}, ""),
        ({"company": "2"}, ""),
    ):
        with pytest.raises(DeliveryError) as refused:
            check_connection(TRYTON, Line(world.transport), world.config | config, key or world.secret, [], NOW)
        assert refused.value.refused_account, config


def test_fields_cannot_be_made_by_any_key(world: TrytonWorld) -> None:
    access = Access(world.config, world.secret, time.monotonic() + 15, NOW)
    with pytest.raises(DeliveryError) as refused:
        TrytonConnector(Line(world.transport), access).make_fields(OWN_FIELDS)
    assert refused.value.status == 400


def test_a_responsible_person_has_many_names_and_an_unknown_one_costs_no_lead(world: TrytonWorld) -> None:
    access = Access(world.config, world.secret, time.monotonic() + 15, NOW)
    connector = TrytonConnector(Line(world.transport), access)
    for name in ("anna", "ANNA@example.com", "Anna Sellers"):
        found = connector.person(name)
        assert not isinstance(found, str)
        assert found.name == "Anna Sellers"
    assert connector.person("clara") == "Tryton has no employee “clara”"
    world.attempt(replace(world.message(), managers=("clara",)), Line(world.transport))
    (lead,) = world.leads()
    assert lead.owner is None
    assert "clara" in world.steps["warning"]


def test_a_number_as_people_type_it_is_its_customers(world: TrytonWorld) -> None:
    national = world.caller.removeprefix("+1")
    customer(world, f"001 ({national[:3]}) {national[3:6]}-{national[6:]} (mornings)")
    steps = entered(world)
    assert steps["model"] == "party.party"
    (note, task) = world.notes(steps["record"], "party.party")
    assert note.startswith(f"Call from {world.caller} to ")
    assert "<p>" not in note
    assert "<br>" not in note
    assert task.startswith("To do for Anna Sellers, 2026-11-23: Call back ")


def test_another_customer_with_these_digits_is_not_the_caller(world: TrytonWorld) -> None:
    customer(world, f"+49{world.caller.removeprefix('+1')}")
    assert entered(world)["model"] == "sale.opportunity"


def test_a_known_customers_new_lead_makes_no_second_party(world: TrytonWorld) -> None:
    party = customer(world, world.caller)
    steps = entered(world, only_new_customers=False)
    (lead,) = world.search("sale.opportunity", [["id", "=", steps["record"]]], ["party", "state"])
    assert (lead["party"], lead["state"], world.contacts()) == (party, "lead", 1)


def test_a_lost_lead_comes_back_when_the_scenario_says_so(world: TrytonWorld) -> None:
    lost = entered(world)["record"]
    world.ask("sale.opportunity", "lost", lost)
    again = entered(world, reopen_lost=True)["record"]
    assert again == lost
    (lead,) = world.leads()
    assert lead.is_visible


def test_templates_fill_texts_of_a_lead_and_nothing_else(world: TrytonWorld) -> None:
    fields = {"description": "Call\nfrom {phone}", "comment": "a\nb", "amount": "12", "no_such_field": "x"}
    steps = entered(world, fields=fields)
    (lead,) = world.search("sale.opportunity", [["id", "=", steps["record"]]], ["description", "comment", "amount"])
    assert (lead["description"], lead["comment"], lead["amount"]) == (f"Call from {world.caller}", "a\nb", None)
    assert "amount" in steps["warning"]
    assert "no_such_field" in steps["warning"]


def test_a_title_may_be_called_name_as_in_other_crms(world: TrytonWorld) -> None:
    steps = entered(world, fields={"name": "Test of {phone}"})
    (lead,) = world.search("sale.opportunity", [["id", "=", steps["record"]]], ["description"])
    assert (lead["description"], steps["warning"]) == (f"Test of {world.caller}", None)


def test_a_converted_lead_is_corrected_in_notes_alone(world: TrytonWorld) -> None:
    steps = dict(entered(world))
    world.ask("sale.opportunity", "lost", steps["record"])
    message = world.message()
    source = {"source": "letter", "medium": "email", "campaign": "winter"}
    call = {**message.call, "source": source, "status": "voicemail"}
    world.attempt(replace(message, event="call.updated", call=call, earlier=steps), Line(world.transport))
    assert world.corrections(steps["record"]) == 1
    (lead,) = world.search("sale.opportunity", [["id", "=", steps["record"]]], ["comment"])
    assert "google" in lead["comment"]


def test_settings_of_no_sense_are_refused_where_they_are_typed() -> None:
    good = {"url": "https://tryton.example/", "database": "crm"}
    assert TrytonSettings.model_validate(good).url == "https://tryton.example"
    for wrong in (
        {"database": "a/b"},
        {"key": "pässword"},
        {"fields": {"reference": "x"}},
        {"fields": {"company": "x"}},
    ):
        with pytest.raises(ValueError, match="validation error"):
            TrytonSettings.model_validate(good | wrong)
