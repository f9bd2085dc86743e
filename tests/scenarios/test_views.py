"""The pages of scenarios and numbers, without JavaScript."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, func, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.database import Database
from router.scenarios.documents import scenario_document
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers import add_numbers
from router.scenarios.parts import add_part
from router.scenarios.scenarios import create_scenario
from router.server import Server
from router.web import Problem
from tests.people import NOW, Cast, sign_in
from tests.scenarios.making import ALICE, FIRST, LINE, SECOND, THIRD

TYPED = {
    "title": "Spring",
    "aim": "source",
    "numbers": [FIRST, SECOND],
    "static.0.number": SECOND,
    "static.0.source": "flyer",
    "destinations.0.to": LINE,
    "destinations.0.ring_seconds": "35",
    "destinations.1.to": "",
    "destinations.2.to": "sip:desk@pbx.example.com",
    "selectors": ".phone\r\n\r\n#top a",
    "replace": "(415) 555-0100",
    "format": "+1 (XXX) XXX-XXXX",
}


@pytest.fixture
def server(app: Flask) -> Server:
    return app.extensions["router"]  # type: ignore[no-any-return]  # Flask does not type its extensions


@pytest.fixture
def alice(client: FlaskClient, cast: Cast, database: Database) -> FlaskClient:
    with database.writing() as session:
        add_numbers(session, cast.project, ALICE, [FIRST, SECOND, THIRD], NOW)
    return sign_in(client, cast.alice)


def only_scenario(database: Database) -> Scenario:
    with database.reading() as session:
        return session.scalars(select(Scenario)).one()


def test_a_scenario_is_made_with_the_form_alone(alice: FlaskClient, cast: Cast, database: Database) -> None:
    answer = alice.post("/scenarios/new", data=TYPED | {"enable": "1"}, follow_redirects=True)
    assert "Spring is on" in answer.text
    scenario = only_scenario(database)
    assert (scenario.title, scenario.enabled, scenario.aim) == ("Spring", True, "source")
    assert scenario.tagging["selectors"] == [".phone", "#top a"]
    page = alice.get(f"/scenarios/{scenario.id}").text
    for shown in ('value="35"', "sip:desk@pbx.example.com", "#top a", 'value="flyer"', "+1 (415) 555-0121"):
        assert shown in page
    assert len(re.findall(r'name="numbers" value="[^"]+" checked', page)) == 2


def test_nothing_typed_is_lost_when_the_server_refuses(alice: FlaskClient, database: Database) -> None:
    wrong = TYPED | {
        "title": "",
        "destinations.0.to": THIRD,
        "destinations.0.ring_seconds": "soon",
        "selectors": ".ok\nbroken[",
        "static.0.source": "",
        "static.0.campaign": "kept campaign",
        "format": "our number",
    }
    answer = alice.post("/scenarios/new", data=wrong)
    assert answer.status_code == 422
    for kept in (f'value="{THIRD}"', 'value="soon"', "broken[", "kept campaign", 'value="our number"', LINE[:5]):
        assert kept in answer.text
    for said in ("Give it a name.", "This is a tracking number", "whole number", "not a CSS selector", "Write X or #"):
        assert said in answer.text.replace("&#34;", '"')
    assert len(re.findall(r'name="numbers" value="[^"]+" checked', answer.text)) == 2
    with database.reading() as session:
        assert session.scalars(select(Scenario)).all() == []


def test_the_second_of_two_admins_is_told_and_keeps_what_he_typed(alice: FlaskClient, database: Database) -> None:
    alice.post("/scenarios/new", data=TYPED)
    scenario = only_scenario(database)
    path = f"/scenarios/{scenario.id}"
    assert alice.post(path, data=TYPED | {"title": "First", "version": "1"}).status_code == 302
    late = alice.post(path, data=TYPED | {"title": "Second", "version": "1"})
    assert late.status_code == 409
    assert 'value="Second"' in late.text
    assert "Somebody else changed this scenario" in late.text
    assert only_scenario(database).title == "First"


def test_a_change_neither_switches_it_on_nor_off(alice: FlaskClient, database: Database) -> None:
    alice.post("/scenarios/new", data=TYPED | {"enable": "1"})
    scenario = only_scenario(database)
    alice.post(f"/scenarios/{scenario.id}", data=TYPED | {"version": "1", "numbers": [THIRD], "static.0.number": ""})
    changed = only_scenario(database)
    assert (changed.enabled, changed.version) == (True, 2)
    with database.reading() as session:
        used = select(TrackingNumber.e164).where(TrackingNumber.scenario_id == scenario.id)
        assert session.scalars(used).all() == [THIRD]


def test_the_switch_acts_at_once(alice: FlaskClient, database: Database) -> None:
    """R3"""
    alice.post("/scenarios/new", data=TYPED)
    path = f"/scenarios/{only_scenario(database).id}/switch"
    assert "Spring is on" in alice.post(path, data={"on": "1"}, follow_redirects=True).text
    assert only_scenario(database).enabled
    assert "calls still go through" in alice.post(path, data={"on": ""}, follow_redirects=True).text
    assert not only_scenario(database).enabled


def test_delete_asks_first_and_says_what_happens(alice: FlaskClient, database: Database) -> None:
    alice.post("/scenarios/new", data=TYPED | {"enable": "1"})
    path = f"/scenarios/{only_scenario(database).id}/delete"
    question = alice.get(path).text
    assert "Its 2 numbers go back to the project" in question
    assert only_scenario(database).deleted_at is None
    answer = alice.post(path, follow_redirects=True)
    assert "Spring is deleted. 2 numbers are free again." in answer.text
    assert alice.get(path).status_code == 404


def test_the_table_shows_type_numbers_accuracy_and_what_needs_attention(
    alice: FlaskClient, server: Server, cast: Cast, database: Database
) -> None:
    """R3: accuracy is empty until a number was shown."""
    alice.post("/scenarios/new", data=TYPED)
    with database.writing() as session:
        create_scenario(session, server, cast.project, ALICE, {"title": "Bare <b>"}, NOW)
        session.scalars(select(Scenario).where(Scenario.title == "Spring")).one().accuracy = 94
    page = alice.get("/scenarios").text
    assert "mixed" in page
    assert "94 %" in page
    assert "Bare &lt;b&gt;" in page
    assert "No numbers: visitors see the page" in page
    assert "No destination" in page
    assert "no number was shown yet" in page
    assert "None" not in page
    assert "Spring" not in alice.get("/scenarios?q=bare").text
    assert "No scenario fits" in alice.get("/scenarios?status=on").text


def test_the_table_takes_the_same_statements_for_two_and_for_twenty_scenarios(
    alice: FlaskClient, server: Server, cast: Cast, database: Database
) -> None:
    def statements() -> int:
        alice.get("/scenarios")  # what a process asks once is asked
        seen: list[str] = []

        def note(_: Any, __: Any, statement: str, *___: Any) -> None:
            seen.append(statement)

        event.listen(server.database.engine, "before_cursor_execute", note)
        assert alice.get("/scenarios").status_code == 200
        event.remove(server.database.engine, "before_cursor_execute", note)
        return len(seen)

    def make(count: int) -> None:
        with database.writing() as session:
            for index in range(count):
                create_scenario(session, server, cast.project, ALICE, {"title": f"Scenario {index}"}, NOW)

    make(2)
    few = statements()
    make(18)
    assert statements() == few


def test_nothing_that_the_form_does_not_show_is_lost_by_an_edit(
    alice: FlaskClient, server: Server, cast: Cast, database: Database
) -> None:
    members: dict[str, Any] = {
        "channels": [
            {"match": {"source": "google"}, "kind": "dynamic"},
            {"match": {}, "kind": "static", "number": THIRD},
        ],
        "terms": {"excluded_sources": ["bing"]},
        "upkeep": {"on": True, "max_numbers": 7},
        "manager": "bob",
        "to_buy": {"count": 3, "country": "US"},
    }
    with database.writing() as session:
        given = {"title": "Spring", "numbers": [THIRD]} | members
        scenario, _ = create_scenario(session, server, cast.project, ALICE, given, NOW)
        before = scenario_document(session, server, scenario)
    typed = TYPED | {"version": "1", "numbers": [SECOND, THIRD]}
    assert alice.post(f"/scenarios/{before['id']}", data=typed).status_code == 302
    with database.reading() as session:
        after = scenario_document(session, server, session.get_one(Scenario, before["id"]))
    flyer = {"match": {"source": "flyer"}, "kind": "static", "number": SECOND}
    assert after["channels"] == [*before["channels"], flyer]
    assert all(after[name] == before[name] for name in ("terms", "upkeep", "manager", "to_buy"))


class Notes:
    """A part of an upper floor that makes a secret."""

    name = "notes"
    form_template = "scenarios/_test_notes.html"

    def check(self, session: Session, project: Project, scenario_id: int | None, value: Any) -> Any:
        if value.get("text") == "bad":
            raise Problem(422, "This note is bad.", "notes.text")
        return value

    def save(self, session: Session, project: Project, scenario_id: int, clean: Any, now: datetime) -> dict[str, Any]:
        return {"notes.key": "whsec_once"}

    def show(self, session: Session, scenario_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        return {}

    def copy(self, session: Session, project: Project, original_id: int, copy_id: int, now: datetime) -> None:
        raise NotImplementedError

    def read_form(self, form: Mapping[str, str]) -> Any:
        return {"text": form.get("notes.text", "")}


def test_parts_of_upper_floors_are_in_the_form_and_their_secrets_are_shown_once(
    app: Flask, alice: FlaskClient, server: Server, database: Database
) -> None:
    import jinja2

    template = '<input name="notes.text" value="{{ value.text }}"><p>{{ errors.get("notes.text", "") }}</p>'
    added = jinja2.DictLoader({"scenarios/_test_notes.html": template})
    app.jinja_loader = jinja2.ChoiceLoader([added, app.jinja_loader])  # type: ignore[assignment, list-item]  # Flask's own is one
    add_part(server, Notes())
    refused = alice.post("/scenarios/new", data=TYPED | {"notes.text": "bad"})
    assert "This note is bad." in refused.text
    assert 'name="notes.text" value="bad"' in refused.text
    stored = alice.post("/scenarios/new", data=TYPED | {"notes.text": "good"})
    assert "whsec_once" in stored.text
    assert "whsec_once" not in alice.get(f"/scenarios/{only_scenario(database).id}").text
    assert "whsec_once" not in alice.get("/scenarios").text


def test_a_viewer_sees_everything_and_changes_nothing(
    alice: FlaskClient, app: Flask, cast: Cast, database: Database
) -> None:
    alice.post("/scenarios/new", data=TYPED)
    path = f"/scenarios/{only_scenario(database).id}"
    bob = sign_in(app.test_client(), cast.bob)
    page = bob.get(path).text
    assert "Spring" in page
    assert '<button class="btn btn-primary"' not in page
    for address in (path, f"{path}/switch", f"{path}/delete", "/scenarios/new", "/numbers/add"):
        assert bob.post(address, data=TYPED).status_code == 403
    assert only_scenario(database).version == 1


def test_the_preview_shows_a_number_in_the_format(alice: FlaskClient) -> None:
    def shown(**asked: str) -> str:
        return str((alice.get("/scenarios/preview", query_string=asked).json or {})["shown"])

    assert shown(format="8 (XXX) XXX-XX-XX", number="+74951234567") == "8 (495) 123-45-67"
    assert shown(format="", number="+14155550121") == "(415) 555-0121"
    assert shown(format="x", number="+14155550121") == "–"
    assert shown(format="XXX-XXXX", number="junk") != ""


def test_pasted_numbers_are_added_all_or_none(alice: FlaskClient, cast: Cast, database: Database) -> None:
    def count() -> int:
        with database.reading() as session:
            return session.scalar(select(func.count(TrackingNumber.id))) or 0

    wrong = alice.post("/numbers/add", data={"numbers": f"+14155550151\n\nnonsense\n{FIRST}"})
    assert wrong.status_code == 422
    assert "nonsense" in wrong.text
    assert "of this project already" in wrong.text
    assert "+14155550151" in wrong.text, "what was typed stays"
    assert count() == 3
    assert alice.post("/numbers/add", data={"numbers": " \n"}).status_code == 422
    added = alice.post("/numbers/add", data={"numbers": "+14155550151\r\n(415) 555-0152"}, follow_redirects=True)
    assert "2 numbers added" in added.text
    assert count() == 5


def test_the_numbers_page_says_how_many_are_free_and_filters(
    alice: FlaskClient, server: Server, database: Database
) -> None:
    alice.post("/scenarios/new", data=TYPED)
    page = alice.get("/numbers").text
    assert "2 in use, 1 free." in page
    assert "flyer" in page
    free = alice.get("/numbers?use=free").text
    assert "+1 415-555-0123" in free
    assert "+1 415-555-0121" not in free
    inside = alice.get(f"/numbers?scenario={only_scenario(database).id}").text
    assert "+1 415-555-0123" not in inside
    assert "+1 415-555-0122" in alice.get("/numbers?q=0122").text
    with database.reading() as session:
        unused = session.scalars(select(TrackingNumber.id).where(TrackingNumber.e164 == THIRD)).one()
    assert "is removed" in alice.post(f"/numbers/{unused}/remove", follow_redirects=True).text


def test_junk_in_an_address_or_a_form_is_no_mistake_of_ours(alice: FlaskClient) -> None:
    for address in ("/numbers?scenario=-1&q=x", "/numbers?scenario=99999999999999999999", "/scenarios?q=%25_\\"):
        assert alice.get(address).status_code == 200
    for address in ("/scenarios/99999999999999999999", "/scenarios/0", "/scenarios/abc"):
        assert alice.get(address).status_code == 404
    junk = {
        "numbers": ["", "\0", "x" * 300],
        "destinations.0.to": "\0",
        "title": "\0a\ud7ff",
        "aim": "\0",
        "version": "x",
    }
    assert alice.post("/scenarios/new", data=junk).status_code == 422


HOOK = "https://hooks.example.com/calls"


def test_integrations_are_kept_with_the_scenario_and_typed_ones_come_back(
    alice: FlaskClient, database: Database
) -> None:
    typed = TYPED | {"integrations.webhook_end.url": HOOK}
    refused = alice.post("/scenarios/new", data=typed | {"title": "", "integrations.ga4.measurement_id": "nonsense"})
    assert refused.status_code == 422
    assert f'value="{HOOK}"' in refused.text
    assert 'value="nonsense"' in refused.text
    assert refused.text.count('aria-invalid="true"') == 2, "both errors stand at their fields"

    stored = alice.post("/scenarios/new", data=typed)
    secret = re.search(r"whsec_[A-Za-z0-9+/=]+", stored.text)
    assert secret, "the secret that was made is shown once"
    path = f"/scenarios/{only_scenario(database).id}"
    assert f'value="{HOOK}"' in alice.get(path).text
    assert "Nobody is told" not in alice.get("/scenarios").text

    kept = alice.post(path, data=typed | {"version": "1", "title": "Summer"})
    assert kept.status_code == 302, "an empty secret keeps the stored one, and none is shown again"
    assert secret.group() not in alice.get(path).text
    gone = alice.post(path, data=TYPED | {"version": "2"}, follow_redirects=True)
    assert "Nobody is told about its calls." in gone.text
