"""*Check connection* at Odoo: whose it is, what there is to choose from, what a lead would lack; and nothing is left there. Our stand-in
and, when its address and keys are given, Odoo 19 itself with keys of several users."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from router.demo.odoo import OdooFake
from router.integrations.base import DeliveryError
from router.integrations.crm.accounts import check_connection, unknown_names
from router.integrations.crm.connector import OWN_FIELDS, Access, Checked
from router.integrations.odoo import ODOO
from router.integrations.odoo.connector import OdooConnector
from router.lib.http_client import Outgoing
from tests.integrations.odoo import KEYS, LOOPBACK, Crm, new_digits
from tests.people import NOW


@dataclass
class Office:
    """An Odoo and the keys of its people."""

    crm: Crm
    fake: OdooFake | None

    @contextmanager
    def key_of(self, who: str) -> Iterator[str]:
        """manager, own (Own Documents Only), none (not of Sales), other (of another company), expired."""
        if self.fake is None:
            yield self.crm.key if who == "manager" else KEYS[who]
            return
        if who == "expired":
            yield "expired"
            return
        self.fake.own_documents_only = who == "own"
        self.fake.unreadable = {"crm.lead"} if who == "none" else set()
        admin = self.fake.records.tables["res.users"][1]
        admin["company_ids"] = [] if who == "other" else [1]
        try:
            yield self.crm.key
        finally:
            self.fake.own_documents_only, self.fake.unreadable, admin["company_ids"] = False, set(), [1]

    def check(self, who: str = "manager", *managers: str, **config: Any) -> Checked:
        with self.key_of(who) as key:
            settings = {"url": self.crm.url, "database": self.crm.database} | config
            return check_connection(ODOO, Outgoing(LOOPBACK, total_seconds=15), settings, key, managers, NOW)

    def count(self) -> int:
        found = self.crm.ask(
            "crm.lead", "search_read", as_admin=True, domain=[], fields=["id"], context={"active_test": False}
        )
        return len(found)


@pytest.fixture
def office(crm: Crm, stand_in: tuple[OdooFake, str]) -> Office:
    return Office(crm, stand_in[0] if crm.key == "the-key" else None)


def test_it_tells_whose_it_is_and_what_there_is_and_leaves_nothing(office: Office) -> None:
    before = office.count()
    checked = office.check("manager", "admin", team="1", fields={"contact_name": "{phone}"})
    assert checked.problems == []
    assert checked.account.identity
    assert office.crm.database in checked.account.title
    assert {"admin", "calltracking"} <= {person.value for person in checked.choices.people}
    assert "Sales" in {team.label for team in checked.choices.pipelines}
    assert "Won" in {stage.label for stage in checked.choices.stages}
    fields = {field.value for field in checked.choices.fields}
    assert "contact_name" in fields
    assert "won_status" not in fields
    assert office.count() == before


@pytest.mark.parametrize("who", ["own", "none", "other"])
def test_r10_the_identity_is_the_same_for_every_key(office: Office, who: str) -> None:
    with office.key_of(who) as key:
        access = Access({"url": office.crm.url, "database": office.crm.database}, key, 0.0, NOW)
        connector = OdooConnector(Outgoing(LOOPBACK, total_seconds=15), access)
        object.__setattr__(access, "deadline", connector.outgoing.deadline())
        assert connector.account().identity == office.check().account.identity


@pytest.mark.parametrize(
    ("who", "managers", "config", "said"),
    [
        ("own", [], {}, "Own Documents Only"),
        ("own", ["admin"], {}, "Odoo would refuse the lead"),
        ("other", ["admin"], {}, "works in another company"),
        ("manager", ["nobody@example.com"], {}, "Odoo has no user “nobody@example.com”."),
        ("manager", ["admin"], {"fields": {"no_such_field": "x"}}, "Leads have no field “no_such_field” in Odoo."),
        ("manager", ["admin"], {"team": "9999"}, "No matching record found"),
        ("manager", ["admin"], {"stage": "No such stage"}, "No matching record found"),
    ],
)
def test_what_a_lead_would_lack_is_said_in_words(
    office: Office, who: str, managers: list[str], config: dict[str, Any], said: str
) -> None:
    before = office.count()
    problems = office.check(who, *managers, **config).problems
    assert [problem for problem in problems if said in problem], problems
    assert office.count() == before


def test_a_key_of_somebody_outside_of_sales_is_told_what_it_needs(office: Office) -> None:
    try:
        problems = office.check("none").problems
    except DeliveryError as refused:
        problems = [str(refused)]
    assert any("crm.lead" in problem for problem in problems), problems


def test_r10_a_key_that_may_make_no_lead_of_somebody_else_makes_one_of_nobody_and_says_so(office: Office) -> None:
    crm = office.crm
    with office.key_of("own") as key:
        answer, _ = crm.send(replace(crm.message(config={"manager": "admin"}), secret=key))
    assert crm.lead(answer["record"])["user_id"] is False
    assert answer["warning"] == "“admin” cannot be responsible in Odoo: the lead belongs to nobody"
    assert len(crm.leads()) == 1


def test_a_task_that_odoo_refuses_costs_neither_lead_nor_note(stand_in: tuple[OdooFake, str]) -> None:
    """On the stand-in alone: no role of Odoo's own may work with leads and not with activities."""
    fake, url = stand_in
    crm = Crm(url, "crmtest", "the-key", "the-key")
    fake.unreadable = {"mail.activity"}
    try:
        answer, _ = crm.send(crm.message(config={"manager": "admin"}, call={"status": "missed", "duration": 0}))
    finally:
        fake.unreadable = set()
    assert "No task was left" in answer["warning"]
    assert len(crm.notes(answer["record"])) == 1


@pytest.mark.parametrize("who", ["expired"])
def test_an_expired_key_is_the_accounts_fault(office: Office, who: str) -> None:
    with pytest.raises(DeliveryError, match="Invalid apikey") as refused:
        office.check(who)
    assert refused.value.refused_account


def test_our_fields_are_made_once_and_filled_with_the_next_lead(office: Office) -> None:
    """Only who administers may make them."""
    crm = office.crm
    if office.fake is not None:
        office.fake.may_administer = True
    settings = {"url": crm.url, "database": crm.database}
    outgoing = Outgoing(LOOPBACK, total_seconds=60)
    access = Access(settings, crm.admin_key, outgoing.deadline(), NOW)
    made = OdooConnector(outgoing, access).make_fields(OWN_FIELDS)
    assert OdooConnector(outgoing, access).make_fields(OWN_FIELDS) == made
    if office.fake is not None:
        office.fake.may_administer = False
        with pytest.raises(DeliveryError) as refused:
            OdooConnector(outgoing, access).make_fields([*OWN_FIELDS, type(OWN_FIELDS[0])("more", "More", "{phone}")])
        assert refused.value.status == 403
    fields = {made[field.name]: field.template for field in OWN_FIELDS}
    message = crm.message(config={"fields": fields}, call={"caller": crm.caller})
    answer, _ = crm.send(message)
    assert "warning" not in answer
    names = [made["call_id"], made["visit"]]
    found = crm.ask("crm.lead", "search_read", domain=[["id", "=", answer["record"]]], fields=names)
    assert found[0][made["call_id"]] == message.call["sid"]


@pytest.mark.parametrize("fields", ["x_second_phone", "x_second_phone, no_such_field"])
def test_r10_a_number_in_a_named_field_is_found_and_one_that_is_not_there_costs_no_lead(
    office: Office, fields: str
) -> None:
    """Contacts have no such field; a lead has."""
    crm = office.crm
    if office.fake is not None:
        office.fake.may_administer = True
    described = {"name": "x_second_phone", "field_description": "Second phone", "ttype": "char", "state": "manual"}
    if not crm.ask("crm.lead", "fields_get", allfields=["x_second_phone"], attributes=["type"]):
        (model,) = crm.ask("ir.model", "search_read", as_admin=True, domain=[["model", "=", "crm.lead"]], fields=["id"])
        crm.ask("ir.model.fields", "create", as_admin=True, vals_list=[described | {"model_id": model["id"]}])
    if office.fake is not None:
        office.fake.may_administer = False
    digits = new_digits()
    crm.caller = f"+4930{digits}"
    deal = crm.make("crm.lead", name="Garden", phone="030 7654321", x_second_phone=f"030 {digits} abends")
    answer, _ = crm.send(crm.message(config={"phone_fields": fields}))
    assert answer["record"] == deal
    assert crm.leads() == []


@pytest.mark.parametrize(
    ("setting", "name", "is_known"),
    [
        ("manager", "admin", True),
        ("manager", "ADMIN", True),
        ("manager", "Administrator", True),
        ("manager", "", True),
        ("manager", "admim", False),
        ("team", "Sales", True),
        ("team", "Sails", False),
        ("stage", "Won", True),
        ("stage", "Wonn", False),
    ],
)
def test_r10_a_name_that_odoo_does_not_have_is_an_error_that_offers_what_is_like_it(
    office: Office, setting: str, name: str, is_known: bool
) -> None:
    errors = unknown_names(ODOO, {setting: name}, office.check().choices)
    assert (errors == {}) is is_known
    if not is_known:
        like = {"manager": "admin", "team": "Sales", "stage": "Won"}[setting]
        assert like in errors[setting]
        assert f"“{name}”" in errors[setting]


def test_two_databases_are_two_accounts(office: Office) -> None:
    other = OdooFake("crmtest", secrets.token_hex(8))
    assert other.uuid != office.check().account.identity
