"""Bundles and addresses (R5): chosen from what the account at the carrier has, and sent with whatever the project orders."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.audit import Actor, Change
from router.accounts.models import AuditEntry, Project
from router.attribution.upkeep.service import find_numbers
from router.carriers import SIMULATED_ACCOUNT
from router.carriers.accounts import AccountValues, save_account
from router.carriers.base import ComplianceMissing
from router.scenarios.models import NumberCompliance, NumberOrder, OrderState
from router.scenarios.numbers.compliance import (
    choose,
    compliance_of,
    kinds_of,
    may_choose,
    read_choices,
    trouble_with,
)
from router.scenarios.numbers.purchase import buy_now
from router.scenarios.numbers.search import bundles_lacking, look_around, open_shop, search_numbers
from router.scenarios.service import create_scenario
from router.server import Server
from router.web.errors import Problem
from tests.carriers.rest import ABROAD, BUNDLE, HOME, OVER, REGULATED, REVIEWED, TOKEN, make_shop
from tests.carriers.rest_faults import FaultyRest, faulty_server
from tests.factories import NOON, make_project
from tests.pages import words_of
from tests.people import Cast, bearer, sign_in
from tests.scenarios.names import ALICE, LINE
from tests.scenarios.numbers.buying import go, order, state_of

CONSOLE = Actor("the console", is_operator=True)
CHOICES = "/choices?country=HU"
HUNGARIAN = {"country": "HU", "area_code": "", "contains": ""}


def served_by(server: Server, folder: Path) -> Iterator[FaultyRest]:
    with faulty_server(folder / "simulator.db", SIMULATED_ACCOUNT, TOKEN) as (address, rest):
        rest.standing = replace(REGULATED)
        server.shop = make_shop(address.url)
        server.settings = server.settings.model_copy(update={"carrier_url": address.url})
        yield rest


@pytest.fixture
def carrier(server: Server, tmp_path: Path) -> Iterator[FaultyRest]:
    yield from served_by(server, tmp_path)


def keep(server: Server, project: Project, bundle: str = BUNDLE, address: str = HOME) -> NumberCompliance | None:
    choices = read_choices(server, CONSOLE, project.id, open_shop(server, project.id), "HU", "local")
    with server.database.writing() as session:
        return choose(Change(session, server, project, ALICE, NOON), choices, bundle, address)


def test_r5_what_is_chosen_goes_with_every_order_also_with_the_one_in_the_place_of_a_lost_number(
    server: Server, project: Project, carrier: FaultyRest
) -> None:
    for search in (
        lambda: search_numbers(server, project.id, "HU"),
        lambda: find_numbers(server, project.id, HUNGARIAN, 1),
    ):
        with pytest.raises((Problem, ComplianceMissing), match=r"address in their area.*Bundles and addresses"):
            search()
    keep(server, project)
    first, second, third = find_numbers(server, project.id, HUNGARIAN, 3)[:3]
    assert [offer.e164 for offer in search_numbers(server, project.id, "HU", limit=3)] == [first, second, third]
    assert buy_now(server, project, "alice", first, NOON).state == OrderState.BOUGHT
    carrier.account.give_to_somebody_else(second)
    order(server, project, second, search=HUNGARIAN)
    go(server, 1)
    assert (state_of(server, second), state_of(server, third)) == ("replaced", "bought")
    sold = {(number["e164"], number["bundle_sid"], number["address_sid"]) for number in carrier.account.numbers()}
    assert sold == {(first, BUNDLE, HOME), (third, BUNDLE, HOME)}


def test_r5_an_order_takes_what_is_chosen_when_it_is_asked_for_and_is_refused_in_words_that_say_what_to_do(
    server: Server, project: Project, carrier: FaultyRest
) -> None:
    keep(server, project)
    first, second = find_numbers(server, project.id, HUNGARIAN, 2)[:2]
    keep(server, project, bundle="")
    refused = buy_now(server, project, "alice", first, NOON)
    assert refused.state == OrderState.REFUSED
    assert refused.error.startswith("The carrier wants an approved regulatory bundle for this number. Choose one under")
    assert "21649" in refused.error
    order(server, project, second)
    keep(server, project)
    go(server, 1)
    assert state_of(server, second) == "bought"
    assert keep(server, project, "", "") is None
    with server.database.reading() as session:
        assert session.scalars(select(NumberCompliance)).all() == []
        (told,) = session.scalars(select(AuditEntry.detail).order_by(AuditEntry.id.desc()).limit(1))
    assert told == {"bundle": "none", "address": "none"}


@pytest.mark.parametrize(
    ("bundle", "address", "field"),
    [
        (REVIEWED, "", "bundle_sid"),
        (OVER, "", "bundle_sid"),
        ("BU9", "", "bundle_sid"),
        (BUNDLE, "AD9", "address_sid"),
    ],
)
@pytest.mark.one_database
def test_r5_only_what_the_account_has_and_the_carrier_approved_can_be_chosen(
    server: Server, project: Project, carrier: FaultyRest, bundle: str, address: str, field: str
) -> None:
    with pytest.raises(Problem) as refusal:
        keep(server, project, bundle, address)
    assert (refusal.value.status, refusal.value.field) == (422, field)
    with server.database.reading() as session:
        assert session.scalars(select(NumberCompliance)).all() == []


@pytest.mark.one_database
def test_a_choice_is_good_at_the_account_alone_that_has_it(
    server: Server, project: Project, carrier: FaultyRest
) -> None:
    choices = read_choices(server, CONSOLE, project.id, open_shop(server, project.id), "HU", "local")
    keep(server, project)
    with server.database.writing() as session:
        change = Change(session, server, project, ALICE, NOON)
        save_account(change, AccountValues(account_sid=SIMULATED_ACCOUNT, auth_token=TOKEN))
        with pytest.raises(Problem, match="another account"):
            choose(change, choices, BUNDLE, HOME)
    with pytest.raises(Problem, match="Bundles and addresses"):
        search_numbers(server, project.id, "HU")
    with server.database.reading() as session:
        e164 = "+3612001234"
        assert compliance_of(session, project.id, "", e164).bundle_sid == BUNDLE
        assert compliance_of(session, project.id, SIMULATED_ACCOUNT, e164).bundle_sid == ""


@pytest.mark.one_database
def test_where_a_bundle_is_wanted_that_is_not_chosen_it_is_said_before_anything_is_ordered(
    server: Server, project: Project, carrier: FaultyRest
) -> None:
    market = look_around(server, project.id, "BE", search=True)
    assert market.offers
    (lack,) = market.lacks
    assert lack.sentence == (
        "Local numbers in Belgium are sold only with an approved regulatory bundle, and none is chosen. "
        "Choose one under Numbers, Bundles and addresses."
    )
    assert look_around(server, project.id, "US", search=True).lacks == []
    assert [(lack.country, lack.kind) for lack in look_around(server, project.id, "HU", search=True).lacks] == [
        ("HU", "local")
    ]
    keep(server, project)
    assert bundles_lacking(server, project.id, [("HU", "local")]) == []


@pytest.mark.parametrize(
    ("e164", "kinds"),
    [
        ("+3612001234", ("local",)),
        ("+36201234567", ("mobile",)),
        ("+14155550123", ("local", "mobile")),
        ("+18005550123", ("toll-free",)),
        ("+4932221234567", ("local",)),
    ],
)
def test_what_the_carrier_calls_a_number(e164: str, kinds: tuple[str, ...]) -> None:
    assert kinds_of(e164) == kinds


@pytest.mark.one_database
def test_what_became_of_a_choice_is_told(server: Server, project: Project, carrier: FaultyRest) -> None:
    row, shop = keep(server, project), open_shop(server, project.id)
    assert row is not None
    assert trouble_with(shop, row, NOON) == ""
    bundle = REGULATED.bundles[0]
    for changed, said in (
        (replace(bundle, status="twilio-rejected"), "the bundle Hungary is rejected"),
        (replace(bundle, valid_until="2020-01-01T00:00:00Z"), "the bundle Hungary is not valid any more"),
    ):
        carrier.standing = replace(REGULATED, bundles=(changed,))
        assert trouble_with(shop, row, NOON) == said
    carrier.standing = replace(REGULATED, bundles=(), addresses=())
    assert trouble_with(shop, row, NOON).count("the carrier has no") == 2


@pytest.mark.one_database
def test_who_may_look_through_an_account(server: Server, project: Project) -> None:
    alice = Actor("alice@example.com", roles={project.id: "admin"})
    bob = Actor("bob@example.com", roles={project.id: "viewer"})
    with server.database.writing() as session:
        assert session.scalars(select(Project.id)).all() == [project.id]
        assert may_choose(session, alice, project.id, "")
        assert not may_choose(session, bob, project.id, SIMULATED_ACCOUNT)
        make_project(session)
        assert not may_choose(session, alice, project.id, "")
        assert may_choose(session, alice, project.id, SIMULATED_ACCOUNT)
        assert may_choose(session, CONSOLE, project.id, "")


class Office:
    """Alice's project, with her client; the carrier has what Hungary wants."""

    def __init__(self, client: FlaskClient, cast: Cast, server: Server, carrier: FaultyRest) -> None:
        self.cast, self.server, self.carrier = cast, server, carrier
        self.client = sign_in(client, cast.alice)
        self.path = f"/api/v1/projects/{cast.project.id}/compliance"

    def own_account(self) -> None:
        with self.server.database.writing() as session:
            change = Change(session, self.server, self.cast.project, ALICE, NOON)
            save_account(change, AccountValues(account_sid=SIMULATED_ACCOUNT, auth_token=TOKEN))

    def ask(self, path: str, token: str = "") -> Any:
        return self.client.get(self.path + path, headers=bearer(token or self.cast.alice_token))

    def put(self, token: str = "", **choice: Any) -> Any:
        body = {"country": "HU", "kind": "local"} | choice
        return self.client.put(self.path, headers=bearer(token or self.cast.alice_token), json=body)


@pytest.fixture
def office(app: Flask, client: FlaskClient, cast: Cast, tmp_path: Path) -> Iterator[Office]:
    server: Server = app.extensions["router"]
    server.now = lambda: NOON
    for carrier in served_by(server, tmp_path):
        yield Office(client, cast, server, carrier)


@pytest.mark.one_database
def test_an_account_that_projects_share_is_looked_through_by_its_operator_alone(office: Office) -> None:
    """Bundles and addresses name companies, and nothing is shared between projects."""
    page = office.client.get("/numbers/compliance?country=HU")
    assert page.status_code == 200
    assert "Its operator chooses" in words_of(page)
    for name in ("Hungary,", "Budapest", BUNDLE, "Alder"):
        assert name not in words_of(page)
    assert office.ask(CHOICES).status_code == 403
    choice = {"bundle_sid": BUNDLE, "address_sid": HOME}
    assert office.put(**choice).status_code == 403
    assert (
        office.client.post("/numbers/compliance", data={"country": "HU", "kind": "local"} | choice).status_code == 403
    )
    assert office.put(office.cast.operator_token, **choice).status_code == 200
    (chosen,) = office.ask("").json["items"]
    assert (chosen["bundle_name"], chosen["address_country"], chosen["kind"]) == ("Hungary", "HU", "local")
    office.own_account()
    assert office.ask(CHOICES).status_code == 200
    assert office.ask("").json["items"] == [], "that was the other account's"
    assert office.ask(CHOICES, token=office.cast.bob_token).status_code == 403
    assert office.ask(CHOICES, token=office.cast.charlie_token).status_code == 404


@pytest.mark.one_database
def test_r2_the_review_says_what_has_to_be_chosen_before_and_after_connect(office: Office) -> None:
    office.own_account()
    with office.server.database.writing() as session:
        document = {"title": "Budapest", "flow": {"destinations": [{"to": LINE}]}}
        change = Change(session, office.server, office.cast.project, ALICE, NOON)
        wanted = document | {"to_buy": {"numbers": [], "count": 2, "country": "HU"}}
        path = f"/scenarios/{create_scenario(change, wanted)[0].id}"
    assert "only with an approved regulatory bundle" in words_of(office.client.get(f"{path}/review"))
    refused = office.client.post(f"{path}/connect", data={"version": "1"})
    assert refused.status_code == 409
    assert "address in their area" in words_of(refused)
    assert "/numbers/compliance?country=HU&amp;kind=local" in refused.text
    with office.server.database.reading() as session:
        assert session.scalars(select(NumberOrder)).all() == []


@pytest.mark.one_database
def test_programs_choose_from_what_the_account_has(office: Office) -> None:
    office.own_account()
    told = office.ask(CHOICES).json
    assert [(one["sid"], one["status"], one["is_usable"]) for one in told["bundles"]] == [
        (BUNDLE, "approved", True),
        (REVIEWED, "in review", False),
        (OVER, "approved", False),
    ]
    assert [one["sid"] for one in told["addresses"]] == [HOME, ABROAD]
    assert (told["wants_bundle"], told["chosen"]) == (True, None)
    refused = office.put(bundle_sid=REVIEWED, address_sid=None)
    assert (refused.status_code, refused.json["field"]) == (422, "bundle_sid")
    assert office.put(bundle_sid=BUNDLE).json["field"] == "address_sid", "nothing is dropped by chance"
    kept = office.put(country="hu", bundle_sid=BUNDLE, address_sid=HOME)
    assert (kept.status_code, kept.json["country"], kept.json["bundle_sid"]) == (200, "HU", BUNDLE)
    assert office.ask(CHOICES).json["chosen"] == kept.json == office.ask("").json["items"][0]
    assert office.put(bundle_sid=None, address_sid=None).status_code == 204
    for nonsense, field in (("country=HU&kind=landline", "kind"), ("country=Hungary", "country"), ("", "country")):
        answer = office.ask(f"/choices?{nonsense}")
        assert (answer.status_code, answer.json["field"]) == (422, field)
    office.server.settings = office.server.settings.model_copy(update={"carrier_url": "http://127.0.0.1:1"})
    office.server.shops.clear()
    assert office.ask(CHOICES).status_code == 503


@pytest.mark.one_database
def test_the_page_says_what_can_be_chosen_what_cannot_and_leads_back(office: Office) -> None:
    office.own_account()
    page = words_of(office.client.get("/numbers/compliance?country=HU"))
    for said in (
        "Local numbers in Hungary",
        "only with an approved regulatory bundle",
        'New <span class="pill pill-warn">in review<',
        'Old <span class="pill pill-warn">not valid any more<',
    ):
        assert said in page
    typed = {"country": "HU", "kind": "local", "bundle_sid": BUNDLE, "address_sid": HOME}
    wrong = office.client.post("/numbers/compliance", data=typed | {"bundle_sid": "BU9"})
    assert wrong.status_code == 422
    assert "no such bundle" in words_of(wrong)
    for back, leads in (("/scenarios/1/numbers?search=1", "/scenarios/1/numbers?search=1"), ("//evil.example", None)):
        saved = office.client.post("/numbers/compliance", data=typed | {"back": back})
        assert saved.status_code == 302
        assert saved.location == (leads or "/numbers/compliance?country=HU&kind=local")
    said = words_of(office.client.get("/numbers/compliance"))
    assert "Local numbers in Hungary are ordered with Hungary and Budapest, Alder" in said
    office.carrier.standing = replace(REGULATED, bundles=(), addresses=())
    page = words_of(office.client.get("/numbers/compliance?country=HU"))
    assert "Hungary, which is chosen, is not approved any more" in page
    assert "Make one in the carrier’s console" in page
    assert "no approved bundle" in words_of(office.client.get("/numbers/compliance?country=HU&kind=junk"))


@pytest.mark.one_database
def test_r2_the_wizard_and_the_pages_of_buying_lead_to_the_choice_and_keep_what_was_typed(office: Office) -> None:
    office.own_account()
    begun = office.client.get("/scenarios/new")
    step = begun.location.partition("?")[0]
    search = {"title": "Budapest", "to_buy.country": "HU", "to_buy.count": "2"}
    found = office.client.post(step, data=search | {"do": "search"}, follow_redirects=True)
    assert "address in their area" in words_of(found)
    assert 'value="comply.local"' in found.text
    chosen = office.client.post(step, data=search | {"do": "comply.local"})
    assert chosen.location.startswith("/numbers/compliance?country=HU&kind=local&back=/scenarios/new/")
    assert 'value="Budapest"' in office.client.get(step).text
    buying = office.client.get("/numbers/buy?country=HU")
    assert "address in their area" in words_of(buying)
    assert "/numbers/compliance?country=HU&amp;kind=local&amp;back=" in buying.text
    typed = {"country": "HU", "kind": "local", "bundle_sid": "", "address_sid": HOME}
    office.client.post("/numbers/compliance", data=typed)
    buying = office.client.get("/numbers/buy?country=HU")
    assert "only with an approved regulatory bundle, and none is chosen" in words_of(buying)
    e164 = buying.text.partition('name="e164"')[2].partition('value="')[2].partition('"')[0]
    ordered = office.client.post("/numbers/buy", data={"country": "HU", "e164": e164})
    go(office.server, 1)
    with office.server.database.reading() as session:
        assert session.scalars(select(NumberOrder.state)).one() == OrderState.REFUSED
    refused = office.client.get(ordered.location)
    assert "wants an approved regulatory bundle" in words_of(refused)
    assert "/numbers/compliance?country=HU&amp;kind=local" in refused.text
