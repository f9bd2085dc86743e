"""R10: one CRM, however its address is written and whoever uses it, has one lead for a caller; names in settings are looked up when they
are saved."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.db import Database
from router.demo.odoo import OdooFake
from router.integrations.crm.accounts import account_name, keep_checked
from router.integrations.crm.connector import Account, Checked, Choice, Choices
from router.integrations.models import CrmAccount, Delivery, Integration, Lead
from router.integrations.outbox import fan_out
from router.integrations.queue import Outcome, claim, finish
from router.integrations.settings import IntegrationsPart
from router.scenarios.documents import asking
from router.scenarios.models import Scenario
from router.voice.models import Call
from router.web.errors import Problem, Refused
from tests.factories import make_call, make_integration, make_project, make_scenario
from tests.integrations.conftest import Office
from tests.integrations.odoo import LOOPBACK, Crm, new_number
from tests.integrations.test_vendors import integrations_step
from tests.people import NOW, Cast, bearer, sign_in

CHOICES = Choices(people=(Choice("anna", "Anna Kern", ("7",)),))


def found(identity: str | None) -> Checked:
    return Checked(Account(identity, "main at crm.example.com"), CHOICES)


def connect(session: Session, scenario: Scenario, office: Office, crm: Crm, receiver: str) -> Integration:
    config = {"url": crm.url, "database": crm.database, "fields": {}}
    sealed = office.server.keys.seal(crm.key)
    return make_integration(session, scenario, "crm", "odoo", receiver=receiver, sealed=sealed, config=config)


@pytest.fixture
def crm(stand_in: tuple[OdooFake, str]) -> Crm:
    return Crm(stand_in[1], "crmtest", "the-key", "the-key")


def test_r7_a_source_that_is_corrected_later_changes_the_lead_that_its_call_made(office: Office, crm: Crm) -> None:
    letter = {"channel": "email", "source": "letter", "medium": "email", "campaign": f"winter {crm.caller}"}
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        connect(session, scenario, office, crm, "odoo:1:crm/main")
        call = make_call(
            session, scenario, caller=crm.caller, sid=f"CA{crm.caller[1:]}", source=letter | {"campaign": "x"}
        )
        fan_out(session, call, "call.ended", NOW)
        call_id = call.id
    worker = office.worker()
    worker.run_once(NOW + timedelta(seconds=5))
    for turn in (1, 2):  # the second time nothing is new
        with office.database.writing() as session:
            call = session.get_one(Call, call_id)
            call.source = letter
            fan_out(session, call, "call.updated", NOW + timedelta(minutes=turn))
        worker.run_once(NOW + timedelta(minutes=turn, seconds=5))
    with office.database.reading() as session:
        assert sorted(session.scalars(select(Delivery.state))) == ["done", "skipped"]
    (lead,) = crm.leads()
    assert lead["campaign_id"][1] == letter["campaign"]
    assert len(crm.notes(lead["id"])) == 2


@pytest.mark.parametrize("is_checked", [True, False])
def test_r10_two_projects_on_one_crm_written_in_two_ways_make_one_lead_for_a_caller(
    office: Office, crm: Crm, is_checked: bool
) -> None:
    """Without the CRM's own name the address stands for it, and the phone number alone tells that the caller is known."""
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        other = make_scenario(session, make_project(session, name="Bob’s Nursery"), 0)
        uses = [
            (scenario, f"odoo:{office.project_id}:crm/main"),
            (other, f"odoo:{other.project_id}:crm.example.com/main"),
        ]
        for of_scenario, receiver in uses:
            connect(session, of_scenario, office, crm, receiver)
            if is_checked:
                keep_checked(session, of_scenario.project_id, receiver, "odoo", found("0a1b"), NOW)
        for turn, (of_scenario, _) in enumerate(uses):
            call = make_call(session, of_scenario, caller=crm.caller, sid=f"CA{turn}{crm.caller[1:]}")
            fan_out(session, call, "call.ended", NOW + timedelta(seconds=turn))
        keys = session.scalars(select(Delivery.order_key)).all()
    assert (len(set(keys)) == 1) is is_checked
    worker = office.worker()
    for seconds in (5, 10):
        worker.run_once(NOW + timedelta(seconds=seconds))
    with office.database.reading() as session:
        assert session.scalars(select(Delivery.state)).all() == ["done", "done"]
        accounts = set(session.scalars(select(Lead.account)))
    assert accounts == ({"odoo:0a1b"} if is_checked else {receiver for _, receiver in uses})
    if is_checked:
        (lead,) = crm.leads()
        assert len(crm.notes(lead["id"])) == 2


def test_r11_a_receiver_that_is_paused_holds_up_no_other_way_to_the_same_account(office: Office, crm: Crm) -> None:
    """Another project's key ran out: its delivery waits, and this project's lead is made. Never two at once all the same."""
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        other = make_scenario(session, make_project(session, name="Bob’s Nursery"), 0)
        for turn, of_scenario in enumerate((other, scenario)):
            integration = connect(session, of_scenario, office, crm, f"odoo:{of_scenario.project_id}:crm/main")
            integration.account = "odoo:0a1b"
            call = make_call(session, of_scenario, caller=crm.caller, sid=f"CA{turn}{crm.caller[1:]}")
            fan_out(session, call, "call.ended", NOW)
        paused = f"odoo:{other.project_id}:crm/main"
    with office.database.writing() as session:
        first = claim(session, NOW, 9, 9, lambda receiver: 9)
        assert [one.job.receiver for one in first] == [paused], "in the order of their calls"
        assert claim(session, NOW, 9, 9, lambda receiver: 9) == [], "not while the other one is under way"
        refused = Outcome("retry", "Invalid apikey", status=401, refused_account=True)
        finish(session, first[0], refused, NOW, 0.5)
    with office.database.writing() as session:
        (second,) = claim(session, NOW + timedelta(minutes=1), 9, 9, lambda receiver: 9)
        assert second.job.receiver != paused


def test_r10_leads_and_order_move_to_the_account_when_it_becomes_known(office: Office, crm: Crm) -> None:
    receiver, caller, both = "odoo:1:crm/main", new_number(), new_number()
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        integration = connect(session, scenario, office, crm, receiver)
        common: dict[str, Any] = {"project_id": office.project_id, "external_key": "k", "created_at": NOW}
        session.add(Lead(account=receiver, caller=caller, external_id="1", **common))
        session.add(Lead(account=receiver, caller=both, external_id="2", **common))
        session.add(Lead(account="odoo:0a1b", caller=both, external_id="3", **common))
        fan_out(session, make_call(session, scenario, caller=caller), "call.ended", NOW)
        session.flush()
        keep_checked(session, office.project_id, receiver, "odoo", found(None), NOW)
        assert integration.account is None
        keep_checked(session, office.project_id, receiver, "odoo", found("0a1b"), NOW)
        session.flush()
        session.expire_all()
        assert integration.account == "odoo:0a1b"
        leads = {(lead.account, lead.caller, lead.external_id) for lead in session.scalars(select(Lead))}
        assert leads == {("odoo:0a1b", caller, "1"), ("odoo:0a1b", both, "3")}
        assert session.scalars(select(Delivery.order_key)).one() == f"odoo:0a1b|{caller}"


def test_the_name_of_an_account_fits_its_column() -> None:
    assert account_name("odoo", "x" * 200) != account_name("odoo", "x" * 199)
    assert len(account_name("odoo", "x" * 200)) <= 80


def settings_of(crm: Crm, **more: Any) -> dict[str, Any]:
    return {"kind": "odoo", "url": crm.url, "database": crm.database, "key": crm.key, **more}


def save(office: Office, part: IntegrationsPart, value: Any, manager: str = "") -> None:
    def attempt() -> None:
        with office.database.writing() as session:
            project = session.get_one(Project, office.project_id)
            clean = part.check(session, project, office.scenario_id, {"crm": value})
            session.get_one(Scenario, office.scenario_id).manager = manager
            session.flush()
            part.save(session, project, office.scenario_id, clean, NOW)

    asking(attempt)


@pytest.fixture
def part(office: Office) -> IntegrationsPart:
    server = office.server
    server.settings = server.settings.model_copy(update={"allow_private": LOOPBACK})
    server.now = lambda: NOW
    return IntegrationsPart(server)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"manager": "nobody@example.com"}, "integrations.crm.manager"),
        ({"team": "Sails"}, "integrations.crm.team"),
        ({"stage": "99"}, "integrations.crm.stage"),
    ],
)
def test_r10_a_name_that_the_crm_does_not_have_is_an_error_when_it_is_saved(
    office: Office, part: IntegrationsPart, crm: Crm, more: dict[str, str], field: str
) -> None:
    with pytest.raises(Problem) as refused:
        save(office, part, settings_of(crm, **more))
    assert (refused.value.status, refused.value.field) == (422, field)
    assert next(iter(more.values())) in refused.value.detail
    with office.database.reading() as session:
        assert session.scalars(select(Integration)).all() == []


def test_r10_so_is_the_person_of_the_scenario_itself(office: Office, part: IntegrationsPart, crm: Crm) -> None:
    with pytest.raises(Refused) as refused:
        save(office, part, settings_of(crm), manager="nobody@example.com")
    assert list(refused.value.errors) == ["manager"]
    save(office, part, settings_of(crm), manager="Administrator")


def test_r10_a_name_that_is_there_is_saved_and_the_account_with_it(
    office: Office, part: IntegrationsPart, crm: Crm, stand_in: tuple[OdooFake, str]
) -> None:
    save(office, part, settings_of(crm, manager="ADMIN", team="1"))
    with office.database.reading() as session:
        integration = session.scalars(select(Integration)).one()
        assert integration.account == f"odoo:{stand_in[0].uuid}"
        assert session.scalars(select(CrmAccount)).one().identity == stand_in[0].uuid


def test_somebody_who_came_later_is_found_by_asking_again(office: Office, part: IntegrationsPart, crm: Crm) -> None:
    save(office, part, settings_of(crm, manager="admin"))
    login = f"new-{crm.caller[1:]}@example.com"
    crm.make("res.users", name="New", login=login)
    part.server.now = lambda: NOW + timedelta(minutes=2)
    save(office, part, settings_of(crm, manager=login))


def test_r10_somebody_who_left_keeps_nobody_from_changing_something_else(
    office: Office, part: IntegrationsPart, crm: Crm
) -> None:
    login = f"left-{crm.caller[1:]}@example.com"
    number = crm.make("res.users", name="Left", login=login)
    save(office, part, settings_of(crm, manager=login), manager=login)
    crm.ask("res.users", "write", ids=[number], vals={"active": False})
    part.server.now = lambda: NOW + timedelta(minutes=2)
    with office.database.writing() as session:  # somebody looks again, and he is not there
        session.execute(delete(CrmAccount))
    save(office, part, settings_of(crm, manager=login, longer_than=30), manager=login)
    with pytest.raises(Problem):
        save(office, part, settings_of(crm, manager=f"{login}.au"), manager=login)
    with pytest.raises(Refused):
        save(office, part, settings_of(crm, manager=login), manager=f"{login}.au")


def test_a_crm_that_does_not_answer_keeps_nobody_from_saving(office: Office, part: IntegrationsPart, crm: Crm) -> None:
    save(office, part, settings_of(crm, manager="admin") | {"url": "http://127.0.0.1:9"})
    with office.database.reading() as session:
        assert session.scalars(select(Integration.account)).all() == [None]


def test_r10_the_api_names_the_field_as_well(
    app: Flask, client: FlaskClient, cast: Cast, crm: Crm, stand_in: tuple[OdooFake, str]
) -> None:
    server = app.extensions["router"]
    server.settings = server.settings.model_copy(update={"allow_private": LOOPBACK})
    base, headers = f"/api/v1/projects/{cast.project.id}/scenarios", bearer(cast.alice_token)
    body: dict[str, Any] = {"title": "Site", "integrations": {"crm": settings_of(crm, manager="nobody")}}
    refused = client.post(base, json=body, headers=headers)
    assert (refused.status_code, refused.json["field"]) == (422, "integrations.crm.manager")  # type: ignore[index]  # None would fail the test
    body["integrations"]["crm"]["manager"] = "admin"
    made = client.post(base, json=body, headers=headers)
    assert made.status_code == 201
    check, stored = f"/api/v1/projects/{cast.project.id}/crm/check", {**body["integrations"]["crm"], "key": None}
    assert client.post(check, json={"crm": stored}, headers=headers).status_code == 422
    asked = client.post(check, json={"crm": stored, "scenario": made.json["id"]}, headers=headers)  # type: ignore[index]  # None would fail the test
    assert asked.status_code == 200
    assert "admin" in [person["value"] for person in asked.json["people"]]  # type: ignore[index]  # None would fail the test
    assert asked.json["problems"] == []  # type: ignore[index]  # None would fail the test
    tested = client.post(
        check.replace("check", "test"), json={"crm": stored, "scenario": made.json["id"]}, headers=headers
    )  # type: ignore[index]  # None would fail the test
    assert "A test lead was made" in tested.json["said"][0]  # type: ignore[index]  # None would fail the test
    stand_in[0].may_administer = True
    fields = client.post(check.replace("check", "fields"), json={"crm": stored | {"key": crm.key}}, headers=headers)
    assert fields.json["fields"]["x_calltrack_visit"] == "{visit}"  # type: ignore[index]  # None would fail the test
    moved = {"crm": stored | {"url": "http://127.0.0.1:9"}, "scenario": made.json["id"]}  # type: ignore[index]  # None would fail the test
    assert client.post(check, json=moved, headers=headers).status_code == 422, "a stored key goes nowhere else"
    moved["crm"] |= {"key": "x"}
    assert client.post(check, json=moved, headers=headers).status_code == 502


def test_the_wizard_offers_what_the_crm_has_makes_fields_and_a_test_lead(
    app: Flask, client: FlaskClient, cast: Cast, crm: Crm, stand_in: tuple[OdooFake, str]
) -> None:
    server = app.extensions["router"]
    server.settings = server.settings.model_copy(update={"allow_private": LOOPBACK})
    stand_in[0].may_administer = False
    stand_in[0].records.tables["ir.model.fields"].clear()
    alice = sign_in(client, cast.alice)
    step = integrations_step(alice)

    def press(verb: str, **typed: str) -> Any:
        named = {f"integrations.crm.{name}": value for name, value in {"kind": "odoo", **typed}.items()}
        return alice.post(step, data={"title": "Site", "do": verb} | named)

    typed = {"url": crm.url, "database": crm.database, "key": "wrong", "only_new_customers": "1", "not_while_open": "1"}
    assert press("part.integrations.crm.check", kind="odoo").status_code == 422
    refused = press("part.integrations.crm.check", **typed)
    assert refused.status_code == 422
    assert "Invalid apikey" in refused.text
    shown = press("part.integrations.crm.check", **typed | {"key": crm.key}).text
    assert "Connected to crmtest" in shown
    assert '<option value="admin">Administrator (admin)</option>' in shown
    assert "Nobody and no team is chosen" in shown
    assert "the-key" not in shown

    typed |= {"key": "", "manager": "admin", "fields": "contact_name = {utmSource} caller"}
    shown = press("keep", **typed).text
    assert '<option value="admin" selected>' in shown
    assert "Nobody and no team is chosen" not in shown
    assert "google caller" in shown

    shown = press("part.integrations.crm.fields", **typed).text
    assert "This key may not make fields" in shown
    stand_in[0].may_administer = True
    shown = press("part.integrations.crm.fields", **typed).text
    assert "x_calltrack_visit = {visit}" in shown
    assert "contact_name = {utmSource} caller" in shown

    before = len(crm.ask("crm.lead", "search_read", domain=[["name", "ilike", "Test of"]], fields=["id"]))
    shown = press("part.integrations.crm.test", **typed).text
    assert "A test lead was made" in shown
    leads = crm.ask(
        "crm.lead", "search_read", domain=[["name", "ilike", "Test of"]], fields=["user_id", "contact_name"]
    )
    assert len(leads) == before + 1
    assert leads[-1]["user_id"][1] == "Administrator"
    assert press("part.integrations.crm.burn", **typed).status_code == 404


def test_r10_leads_that_belong_to_nobody_are_pointed_out(
    app: Flask, client: FlaskClient, database: Database, cast: Cast
) -> None:
    with database.writing() as session:
        scenario = make_scenario(session, cast.project, 0, title="Site")
        make_integration(session, scenario, "crm", "odoo", config={"manager": "", "team": ""})
        scenario_id = scenario.id
    base, headers = f"/api/v1/projects/{cast.project.id}/scenarios/{scenario_id}", bearer(cast.alice_token)
    codes = [finding["code"] for finding in client.get(f"{base}/lint", headers=headers).json["items"]]  # type: ignore[index]  # None would fail the test
    assert "crm_nobody" in codes
    with database.writing() as session:
        session.get_one(Scenario, scenario_id).manager = "anna"
    codes = [finding["code"] for finding in client.get(f"{base}/lint", headers=headers).json["items"]]  # type: ignore[index]  # None would fail the test
    assert "crm_nobody" not in codes
