"""Full flows of scenarios: stored as versions, told and changed through the API, checked and pointed out as destinations in turn are."""

from typing import Any, get_args

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from router.accounts.audit import Change
from router.accounts.models import Project
from router.db import Database
from router.scenarios.flow_document import FlowSchema
from router.scenarios.flow_steps import AnyStep
from router.scenarios.lint import lint
from router.scenarios.models import CallFlow
from router.scenarios.service import create_scenario
from router.server import Server
from tests.factories import NOON
from tests.people import Cast, sign_in
from tests.scenarios.names import ALICE, FIRST, LINE
from tests.scenarios.test_api import Program, refusal

STEPS = get_args(get_args(AnyStep)[0])
EXAMPLES = [step.model_config["json_schema_extra"]["example"] for step in STEPS]
STORED = [example for example in EXAMPLES if example["type"] != "play"]
PREMIUM = "+19002345678"


@pytest.fixture
def alice(client: FlaskClient, cast: Cast) -> Program:
    return Program(client, cast.alice_token, cast.project)


def ring(*lines: str, **members: Any) -> dict[str, Any]:
    return {"type": "ring", "destinations": [{"to": line} for line in lines]} | members


def menu(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "menu", "prompt": {"text": "Press 1."}, "keys": {"1": list(steps)}}


def versions(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count(CallFlow.id))) or 0


def test_every_step_is_stored_in_a_version_and_comes_back(alice: Program, database: Database) -> None:
    made = alice.made("/scenarios", {"title": "Spring", "flow": {"steps": STORED, "language": "de-DE"}})
    path, flow = f"/scenarios/{made['id']}", made["flow"]
    assert [step["type"] for step in flow["steps"]] == [step["type"] for step in STORED]
    assert flow["language"] == "de-DE"
    assert len({step["id"] for step in flow["steps"]}) == len(STORED)
    assert (alice.send("GET", path).json or {})["flow"] == flow
    for same in (flow, {"steps": STORED, "language": "de-DE"}):
        alice.send("PATCH", path, {"version": (alice.send("GET", path).json or {})["version"], "flow": same})
        assert versions(database) == 1
    copy = alice.send("POST", f"{path}/duplicate").json or {}
    assert copy["flow"] == flow
    version = (alice.send("GET", path).json or {})["version"]
    answer = alice.send("PATCH", path, {"version": version, "flow": {"steps": [ring(LINE)]}})
    assert [step["type"] for step in (answer.json or {})["flow"]["steps"]] == ["ring"]
    assert versions(database) == 3, "a version stays as it is"


@pytest.mark.one_database
def test_one_form_takes_the_place_of_the_other(alice: Program) -> None:
    short = {"destinations": [{"to": LINE, "ring_seconds": 20}]}
    made = alice.made("/scenarios", {"title": "Spring", "flow": short})
    assert made["flow"] == short, "in the form in which it was given"
    path = f"/scenarios/{made['id']}"
    full = alice.send("PATCH", path, {"version": 1, "flow": {"steps": [ring(LINE)]}}).json or {}
    assert list(full["flow"]) == ["steps"] or "destinations" not in full["flow"]
    both = {"steps": [ring(LINE)], "destinations": [{"to": LINE}]}
    assert refusal(alice.send("PATCH", path, {"version": 2, "flow": both})) == (422, "flow")
    again = alice.send("PATCH", path, {"version": 2, "flow": short}).json or {}
    assert again["flow"] == short


@pytest.mark.one_database
def test_every_line_of_a_flow_is_checked_where_it_stands(alice: Program) -> None:
    alice.made("/numbers", {"e164": FIRST})
    deep = {"steps": [menu(ring(LINE, FIRST)), {"type": "play", "sound": "lost"}]}
    answer = alice.send("POST", "/scenarios", {"title": "Spring", "flow": deep})
    assert answer.status_code == 422
    errors = (answer.json or {})["errors"]
    assert list(errors) == ["flow.steps.1.sound"], "of a flow that cannot be read nothing else is said"
    deep["steps"].pop()
    answer = alice.send("POST", "/scenarios", {"title": "Spring", "flow": deep})
    assert list((answer.json or {})["errors"]) == ["flow.steps.0.keys.1.0.destinations.1.to"]
    premium = {"steps": [menu(ring(PREMIUM))]}
    answer = alice.send("POST", "/scenarios", {"title": "Spring", "flow": premium})
    assert list((answer.json or {})["errors"]) == ["flow.steps.0.keys.1.0.destinations.0.costs_confirmed"]
    recorded = {"steps": [ring(LINE, recording={"channels": "dual"})]}
    answer = alice.send("POST", "/scenarios", {"title": "Spring", "flow": recorded})
    assert list((answer.json or {})["errors"]) == ["flow.steps.0.recording.announcement"]


@pytest.mark.one_database
def test_the_linter_looks_at_every_line(server: Server, project: Project) -> None:
    def found(*steps: dict[str, Any]) -> dict[str, str]:
        document = {"title": "Spring", "numbers": [FIRST], "flow": {"steps": list(steps)}}
        with server.database.reading() as session:
            findings = lint(session, server, project, None, document)
        return {finding.code: finding.field for finding in findings if finding.step == "forwarding"}

    late = {"destinations": [{"to": LINE, "ring_seconds": 40}]}
    assert found(menu(ring(FIRST), ring(LINE) | late)) == {
        "tracking_destination": "flow.steps.0.keys.1.0.destinations.0.to",
        "long_ring": "flow.steps.0.keys.1.1.destinations.0.ring_seconds",
    }
    assert found(ring(LINE) | late | {"accept": True}) == {}, "a voicemail does not press 1"
    assert found({"type": "say", "text": "Nobody is here."}) == {"nobody_rings": "flow.steps"}
    assert found({"type": "voicemail"}) == {}
    assert found({"type": "ask", "url": "https://crm.example.com/who"}) == {}


@pytest.mark.one_database
def test_the_lines_of_all_steps_are_the_companys_own(server: Server, project: Project, database: Database) -> None:
    flow = {"steps": [menu(ring(LINE)), ring("+4930123456", "sip:+442071838750@pbx.example.com")]}
    with database.writing() as session:
        create_scenario(Change(session, server, project, ALICE, NOON), {"title": "Spring", "flow": flow})
    with database.reading() as session:
        numbers = session.get_one(Project, project.id).destination_numbers
    assert numbers == [LINE, "+442071838750", "+4930123456"]


@pytest.mark.one_database
def test_a_page_of_the_wizard_that_could_not_show_steps_takes_none_away(
    alice: Program, client: FlaskClient, cast: Cast
) -> None:
    made = alice.made("/scenarios", {"title": "Spring", "flow": {"steps": [menu(ring(LINE))]}})
    api, page = f"/scenarios/{made['id']}", f"/scenarios/{made['id']}/forwarding"
    sign_in(client, cast.alice)
    answer = client.post(page, data={"title": "Summer", "do": "apply", "version": "1"})
    assert answer.status_code == 302
    stored = alice.send("GET", api).json or {}
    assert (stored["title"], stored["flow"]) == ("Summer", made["flow"])


@pytest.mark.one_database
def test_the_description_of_the_api_has_an_example_of_each_step(client: FlaskClient) -> None:
    schemas = client.get("/api/v1/openapi.json").get_json()["components"]["schemas"]
    for step, example in zip(STEPS, EXAMPLES, strict=True):
        assert schemas[step.__name__]["example"] == example
        assert FlowSchema.model_validate({"steps": [example]}).steps
    assert {"destinations", "steps"} <= set(schemas["FlowSchema"]["properties"])


@pytest.mark.one_database
def test_the_secret_of_a_projects_questions_is_told_to_its_admins(
    alice: Program, client: FlaskClient, cast: Cast
) -> None:
    told = alice.send("POST", "/flow-secret").json or {}
    assert told["secret"].startswith("whsec_")
    other = Program(client, cast.charlie_token, cast.other_project)
    assert (other.send("POST", "/flow-secret").json or {})["secret"] != told["secret"]
    assert Program(client, cast.charlie_token, cast.project).send("POST", "/flow-secret").status_code == 404
