"""The member `integrations` of a scenario: refused with the field's name, sealed, kept, removed."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template
from flask.testing import FlaskClient
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from router.accounts.models import Project
from router.integrations.crm import CRM as CRM_SLOT
from router.integrations.models import Delivery, Integration
from router.integrations.outbox import fan_out
from router.integrations.queue import Outcome, claim, finish
from router.integrations.settings import IntegrationsPart
from router.integrations.vendors import slots, vendors_in
from router.scenarios.documents import ScenarioPart
from router.scenarios.models import Scenario
from router.web.api import merged
from router.web.errors import Problem
from router.web.forms import FieldErrors
from tests.factories import make_call, make_scenario
from tests.integrations.conftest import LOOPBACK, Office
from tests.integrations.receiver import WEBHOOK_SECRET
from tests.people import NOW, Cast

WEBHOOK = {"url": "https://hooks.example.com/calls", "secret": WEBHOOK_SECRET}
GA4 = {"measurement_id": "G-ABC123", "api_secret": "s3cret"}
CRM = {"kind": "odoo", "url": "https://crm.example.com", "database": "main", "key": "k3y"}


@pytest.fixture
def part(office: Office) -> IntegrationsPart:
    return IntegrationsPart(office.server)


@pytest.fixture
def session(office: Office) -> Iterator[Session]:
    with office.database.writing() as session:
        yield session


def save(office: Office, part: ScenarioPart, session: Session, value: Any) -> dict[str, Any]:
    project = session.get_one(Project, office.project_id)
    clean = part.check(session, project, office.scenario_id, value)
    return part.save(session, project, office.scenario_id, clean, NOW)


def shown(office: Office, part: IntegrationsPart, session: Session) -> dict[str, Any]:
    return part.show(session, [office.scenario_id])[office.scenario_id]


def row(session: Session, slot: str) -> Integration:
    return session.scalars(select(Integration).where(Integration.slot == slot)).one()


def test_secrets_are_sealed_and_never_come_back(office: Office, part: IntegrationsPart, session: Session) -> None:
    save(office, part, session, {"webhook_end": WEBHOOK, "ga4": GA4, "crm": CRM})
    assert shown(office, part, session) == {
        "webhook_end": {
            "url": "https://hooks.example.com/calls",
            "events": [],
            "method": "POST",
            "format": "own",
            "template": {},
        },
        "ga4": {
            "measurement_id": "G-ABC123",
            "endpoint": "https://www.google-analytics.com/mp/collect",
            "event": "Call",
            "value": "",
            "value_per": "call",
            "currency": "",
            "consent": "",
        },
        "crm": {
            "kind": "odoo",
            "url": "https://crm.example.com",
            "database": "main",
            "manager": "",
            "team": "",
            "stage": "",
            "phone_fields": "",
            "fields": {},
            "only_new_customers": True,
            "not_while_open": True,
            "reopen_lost": False,
            "answered_only": False,
            "longer_than": 0,
            "first_call_only": False,
            "withheld_leads": False,
            "callback_task": True,
        },
    }
    for slot, secret in (("webhook_end", WEBHOOK_SECRET), ("ga4", "s3cret"), ("crm", "k3y")):
        found = row(session, slot)
        assert secret not in str(found.config) + found.sealed
        assert office.server.keys.unseal(found.sealed) == secret


def test_what_is_shown_can_be_sent_back_and_changes_nothing(
    office: Office, part: IntegrationsPart, session: Session
) -> None:
    save(office, part, session, {"webhook_end": WEBHOOK, "ga4": GA4, "crm": CRM})
    before = {one.slot: (one.sealed, one.config) for one in session.scalars(select(Integration))}
    assert save(office, part, session, shown(office, part, session)) == {}
    assert {one.slot: (one.sealed, one.config) for one in session.scalars(select(Integration))} == before


def test_a_webhook_without_a_secret_gets_one_that_is_shown_once(
    office: Office, part: IntegrationsPart, session: Session
) -> None:
    once = save(office, part, session, {"webhook_start": {"url": "https://a.example/"}})
    secret = once["integrations.webhook_start.secret"]
    assert secret.startswith("whsec_")
    assert office.server.keys.unseal(row(session, "webhook_start").sealed) == secret
    assert save(office, part, session, {"webhook_start": {"url": "https://b.example/"}}) == {}
    assert office.server.keys.unseal(row(session, "webhook_start").sealed) == secret


def test_null_removes_an_integration_and_keeps_its_deliveries(
    office: Office, part: IntegrationsPart, session: Session
) -> None:
    save(office, part, session, {"webhook_end": WEBHOOK, "ga4": GA4})
    fan_out(session, make_call(session, session.get_one(Scenario, office.scenario_id)), "call.ended", NOW)
    save(office, part, session, merged(shown(office, part, session), {"ga4": None}))
    assert set(shown(office, part, session)) == {"webhook_end"}
    assert (row(session, "ga4").removed_at, row(session, "ga4").sealed) == (NOW, "")
    assert len(session.scalars(select(Delivery)).all()) == 2


def test_a_removed_integration_can_come_back_only_with_its_secret(
    office: Office, part: IntegrationsPart, session: Session
) -> None:
    save(office, part, session, {"ga4": GA4})
    save(office, part, session, None)
    with pytest.raises(Problem):
        save(office, part, session, {"ga4": {"measurement_id": "G-ABC123"}})
    save(office, part, session, {"ga4": GA4})
    assert row(session, "ga4").removed_at is None


def test_a_stored_key_does_not_follow_a_changed_address(
    office: Office, part: IntegrationsPart, session: Session
) -> None:
    save(office, part, session, {"crm": CRM, "ga4": GA4})
    for change, field in (
        ({"crm": {"url": "https://evil.example"}}, "integrations.crm.key"),
        ({"ga4": {"endpoint": "https://evil.example/mp/collect"}}, "integrations.ga4.api_secret"),
    ):
        with pytest.raises(Problem) as refused:
            save(office, part, session, merged(shown(office, part, session), change))
        assert refused.value.field == field


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("text", "integrations"),
        ({"sms": {}}, "integrations.sms"),
        ({"webhook_end": "https://a.example"}, "integrations.webhook_end"),
        ({"webhook_end": {}}, "integrations.webhook_end.url"),
        ({"webhook_end": {"url": 7}}, "integrations.webhook_end.url"),
        ({"webhook_end": {"url": "http://a.example/"}}, "integrations.webhook_end.url"),
        ({"webhook_end": {"url": "https://a.example:22/"}}, "integrations.webhook_end.url"),
        ({"webhook_end": {"url": "https://10.0.0.1/"}}, "integrations.webhook_end.url"),
        ({"webhook_end": {"url": "https://[bad/"}}, "integrations.webhook_end.url"),
        ({"webhook_end": {"url": "https://u:p@a.example/"}}, "integrations.webhook_end.url"),
        (
            {"webhook_end": {"url": "https://a.example/\n"}, "webhook_start": {"url": "/hook"}},
            "integrations.webhook_start.url",
        ),
        ({"webhook_end": WEBHOOK | {"secret": "weak"}}, "integrations.webhook_end.secret"),
        ({"webhook_end": WEBHOOK | {"retries": 3}}, "integrations.webhook_end.retries"),
        ({"ga4": {"measurement_id": "UA-1", "api_secret": "x"}}, "integrations.ga4.measurement_id"),
        ({"ga4": {"measurement_id": "G-ABC123"}}, "integrations.ga4.api_secret"),
        ({"ga4": GA4 | {"event": "two words"}}, "integrations.ga4.event"),
        ({"ga4": GA4 | {"event": "session_start"}}, "integrations.ga4.event"),
        ({"ga4": GA4 | {"endpoint": "https://a.example/?x=1"}}, "integrations.ga4.endpoint"),
        ({"ga4": GA4 | {"endpoint": "https://["}}, "integrations.ga4.endpoint"),
        ({"crm": {**CRM, "kind": "nosuch"}}, "integrations.crm.kind"),
        ({"crm": {"url": "https://crm.example.com"}}, "integrations.crm.kind"),
        ({"crm": CRM | {"database": "a b"}}, "integrations.crm.database"),
        ({"crm": CRM | {"key": "kéy\n"}}, "integrations.crm.key"),
        ({"crm": CRM | {"fields": {"name": "{caller}"}}}, "integrations.crm.fields"),
        ({"crm": CRM | {"fields": {"user_id": "x"}}}, "integrations.crm.fields"),
        ({"crm": CRM | {"fields": {"tag_ids/.id": "x"}}}, "integrations.crm.fields"),
        ({"crm": CRM | {"fields": {"x": 7}}}, "integrations.crm.fields.x"),
        ({"crm": CRM | {"only_new_customers": "yes"}}, "integrations.crm.only_new_customers"),
    ],
)
@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_what_cannot_be_used_is_refused_with_its_field(
    office: Office, part: IntegrationsPart, session: Session, value: Any, field: str
) -> None:
    with pytest.raises(Problem) as refused:
        save(office, part, session, value)
    assert (refused.value.status, refused.value.field) == (422, field)
    assert session.scalars(select(Integration)).all() == []


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_all_mistakes_are_told_in_one_round(office: Office, part: IntegrationsPart, session: Session) -> None:
    value = {
        "webhook_start": {"url": "http://10.0.0.1/", "secret": "weak"},
        "ga4": {"measurement_id": "UA-1", "event": "two words", "endpoint": "https://10.0.0.1/"},
        "crm": {"kind": "odoo", "url": "https://crm.example.com", "fields": {"name": "{caller}"}},
    }
    with pytest.raises(Problem) as refused:
        save(office, part, session, value)
    assert {field.removeprefix("integrations.") for field in refused.value.more["errors"]} == {
        *("webhook_start.url", "webhook_start.secret"),
        *("ga4.measurement_id", "ga4.event", "ga4.endpoint", "ga4.api_secret"),
        *("crm.database", "crm.key", "crm.fields"),
    }


def test_private_addresses_may_be_used_where_the_operator_allows_them(
    office: Office, part: IntegrationsPart, session: Session
) -> None:
    part.server.settings = part.server.settings.model_copy(update={"allow_private": LOOPBACK})
    save(office, part, session, {"webhook_end": {"url": "http://127.0.0.1:9000/hook"}})
    assert shown(office, part, session)["webhook_end"]["url"] == "http://127.0.0.1:9000/hook"


def test_two_scenarios_that_tell_one_receiver_share_its_partition_and_projects_do_not(
    office: Office, part: IntegrationsPart, session: Session
) -> None:
    project = session.get_one(Project, office.project_id)
    one = part.check(session, project, None, {"crm": CRM})["crm"]
    other = part.check(session, project, None, {"crm": CRM | {"url": "https://CRM.example.com/"}})["crm"]
    assert one.receiver == other.receiver == f"odoo:{project.id}:crm.example.com/main"
    long = part.check(session, project, None, {"crm": CRM | {"database": "d" * 200}})["crm"]
    assert len(long.receiver) == 80


def test_a_mended_integration_sends_what_waited_at_once(office: Office, part: IntegrationsPart) -> None:
    with office.database.writing() as session:
        save(office, part, session, {"crm": CRM})
        fan_out(session, make_call(session, session.get_one(Scenario, office.scenario_id)), "call.ended", NOW)
    with office.database.writing() as session:
        (one,) = claim(session, NOW, 9, 9)
        finish(session, one, Outcome("retry", "Invalid apikey", status=401, refused_account=True), NOW, 0.5)
    with office.database.writing() as session:
        assert claim(session, NOW + timedelta(seconds=5), 9, 9) == []
        save(office, part, session, merged(shown(office, part, session), {"crm": {"key": "new"}}))
        assert len(claim(session, NOW, 9, 9)) == 1


def test_the_form_reads_back_what_the_api_shows(office: Office, part: IntegrationsPart, session: Session) -> None:
    form = {
        "integrations.webhook_end.url": " https://hooks.example.com/calls ",
        "integrations.webhook_end.secret": "",
        "integrations.ga4.measurement_id": "",
        "integrations.crm.kind": "odoo",
        "integrations.crm.url": "https://crm.example.com",
        "integrations.crm.database": "main",
        "integrations.crm.key": "k3y",
        "integrations.crm.longer_than": "30",
        "integrations.crm.fields": "name = Call from {phone}\n\ncontact_name={source}",
        "integrations.crm.not_while_open": "1",
    }
    typed = part.read_form(MultiDict(form), None)
    assert part.veiled(typed)[1] == {"integrations.crm.key"}
    assert "k3y" not in str(part.veiled(typed)[0])
    save(office, part, session, part.member(typed))
    found = shown(office, part, session)
    assert set(found) == {"webhook_end", "crm"}
    assert found["crm"]["fields"] == {"name": "Call from {phone}", "contact_name": "{source}"}
    assert (found["crm"]["only_new_customers"], found["crm"]["not_while_open"]) == (False, True)
    assert found["crm"]["longer_than"] == 30


def test_what_is_typed_stays_typed_although_its_slot_is_not_decided(part: IntegrationsPart) -> None:
    """R2: a key that was typed before the address is kept, and needs not be typed again."""
    first = part.read_form(MultiDict({"integrations.crm.key": "k3y", "integrations.crm.database": "main"}), None)
    assert part.member(first)["crm"] is None
    second = part.read_form(MultiDict({"integrations.crm.url": "https://crm.example.com"}), first)
    assert part.member(second)["crm"]["key"] == "k3y"
    assert part.read_form(MultiDict({"integrations.crm.key": "other"}), second)["crm"]["key"] == "other"


def test_the_form_shows_values_and_errors_and_no_secret(app: Flask, part: IntegrationsPart) -> None:
    value = {"webhook_end": {"url": "https://a.example/<x>"}, "crm": CRM | {"fields": {"name": "{phone}"}}}
    errors = {"integrations.crm.database": "There is no such database."}
    with app.test_request_context("/"):
        filled = {"part": part, "typed": {"integrations.crm.key"}, "stored": {"webhook_end": {}}, "disabled": False}
        html = render_template(part.form_template, value=value, errors=FieldErrors(errors.items()), **filled)
        nothing = {"part": part, "typed": set(), "stored": {}, "disabled": True}
        empty = render_template(part.form_template, value={}, errors=FieldErrors([]), **nothing)
    assert "https://a.example/&lt;x&gt;" in html
    assert "There is no such database." in html
    assert "name = {phone}" in html
    assert "k3y" not in html
    assert "Typed, kept sealed" in html
    assert 'name="integrations.ga4.api_secret"' in empty
    assert Path(part.form_template).name == "fields.html"


def test_a_copy_has_the_same_receivers_with_their_secrets(
    office: Office, part: IntegrationsPart, session: Session
) -> None:
    save(office, part, session, {"webhook_end": WEBHOOK, "ga4": GA4, "crm": CRM})
    save(office, part, session, {"webhook_end": WEBHOOK, "crm": CRM})
    project = session.get_one(Project, office.project_id)
    copy = make_scenario(session, project, 0)
    part.copy(session, project, office.scenario_id, copy.id, NOW)
    assert part.show(session, [copy.id])[copy.id] == shown(office, part, session)
    rows = session.scalars(select(Integration).where(Integration.scenario_id == copy.id)).all()
    assert {row.slot: office.server.keys.unseal(row.sealed) for row in rows} == {
        "webhook_end": WEBHOOK_SECRET,
        "crm": "k3y",
    }
    again = part.check(session, project, copy.id, part.show(session, [copy.id])[copy.id])
    assert part.save(session, project, copy.id, again, NOW) == {}, "no secret has to be typed again"


def test_the_apis_description_has_the_settings_of_every_receiver(client: FlaskClient, cast: Cast) -> None:
    document: Any = client.get("/api/v1/openapi.json").json
    for name in ("ScenarioBody", "ScenarioDocument"):
        members = document["components"]["schemas"][name]["properties"]["integrations"]["properties"]
        assert {"webhook_start", "webhook_end", "ga4", "crm"} <= set(members) == set(slots())
        webhook, _ = members["webhook_end"]["anyOf"]
        assert webhook["required"] == ["url"]
        assert set(webhook["properties"]) == {"url", "secret", "events", "method", "format", "template"}
        assert webhook["properties"]["secret"]["writeOnly"]
        assert "choices" not in str(members)
        crms = {one["properties"]["kind"]["const"]: one for one in members["crm"]["anyOf"] if "properties" in one}
        assert crms.keys() == vendors_in(CRM_SLOT).keys()
        assert crms["odoo"]["required"][:2] == ["kind", "url"]


def test_the_preview_says_when_an_address_is_told(part: IntegrationsPart) -> None:
    url = "https://hooks.example.com/calls"
    assert part.preview({"webhook_end": {"url": url}}) == ["It ends: hooks.example.com/calls gets a signed message"]
    chosen = {"webhook_end": {"url": url, "events": ["call.started", "call.recorded"]}, "webhook_start": {"url": ""}}
    assert part.preview(chosen) == [
        "hooks.example.com/calls gets a signed message when a call comes in, when its recording can be heard"
    ]
