"""Destinations that cost more are confirmed, and those of other countries than the operator's refused: when saving and enabling alone."""

from typing import Any

import pytest

from router.accounts.audit import Change
from router.accounts.models import Project
from router.accounts.projects import ProjectValues, known_here
from router.config import SettingsError, read_settings
from router.scenarios.documents import scenario_document
from router.scenarios.fields import Context
from router.scenarios.flow_document import parse_flow
from router.scenarios.lint import lint, lint_stored
from router.scenarios.models import CallFlow, Scenario
from router.scenarios.service import change_scenario, connect_scenario, create_scenario, switch_scenario
from router.server import Server
from router.web.api import parse
from router.web.errors import Problem, Refused
from tests.factories import NOON
from tests.people import PROJECT_VALUES
from tests.scenarios.names import ALICE, FIRST, LINE

PREMIUM, SATELLITE, GERMAN = "+19002345678", "+881612345678", "+493090182011"
CONFIRMED, TO = "flow.destinations.0.costs_confirmed", "flow.destinations.0.to"


def flow(*lines: str | dict[str, Any]) -> dict[str, Any]:
    return {"destinations": [{"to": line} if isinstance(line, str) else line for line in lines]}


def sure(to: str) -> dict[str, Any]:
    return {"to": to, "costs_confirmed": True}


def create(server: Server, project: Project, **document: Any) -> int:
    with server.database.writing() as session:
        change = Change(session, server, project, ALICE, NOON)
        return create_scenario(change, {"title": "Spring", "numbers": [FIRST]} | document)[0].id


def change(server: Server, project: Project, scenario_id: int, **values: Any) -> dict[str, Any]:
    with server.database.writing() as session:
        changed = Change(session, server, project, ALICE, NOON)
        scenario, _ = change_scenario(changed, scenario_id, lambda present: present | values)
        session.flush()
        return scenario_document(session, server, scenario)


def switch(server: Server, project: Project, scenario_id: int, on: bool) -> None:
    with server.database.writing() as session:
        switch_scenario(Change(session, server, project, ALICE, NOON), scenario_id, on)


def store_as_before(server: Server, scenario_id: int, to: str) -> None:
    """As a release that asked nothing stored it."""
    with server.database.writing() as session:
        scenario = session.get_one(Scenario, scenario_id)
        session.get_one(CallFlow, scenario.call_flow_id).document = {"destinations": [{"to": to, "ring_seconds": 20}]}


def only(server: Server, *countries: str) -> Server:
    settings = server.settings.model_copy(update={"destination_countries": countries})
    return Server(settings, server.database, server.keys, now=lambda: NOON)


def refused(refusal: pytest.ExceptionInfo[Refused]) -> dict[str, str]:
    return dict(refusal.value.errors)


@pytest.mark.parametrize("to", [PREMIUM, SATELLITE, "+447012345678", "+491805123456"])
def test_r1_a_destination_that_costs_more_is_stored_once_it_is_confirmed(
    server: Server, project: Project, to: str
) -> None:
    with pytest.raises(Refused) as refusal:
        create(server, project, flow=flow(to))
    assert list(refused(refusal)) == [CONFIRMED]
    assert "send “costs_confirmed”: true" in refused(refusal)[CONFIRMED]
    stored = change(server, project, create(server, project, flow=flow(sure(to))))["flow"]
    assert stored == {"destinations": [{"to": to, "ring_seconds": 20, "costs_confirmed": True}]}


def test_r1_a_confirmation_is_kept_of_no_ordinary_line_and_has_to_be_sent_again(
    server: Server, project: Project
) -> None:
    scenario = create(server, project, flow=flow(sure(LINE), sure(PREMIUM)))
    stored = change(server, project, scenario)["flow"]["destinations"]
    assert [line.get("costs_confirmed") for line in stored] == [None, True]
    with pytest.raises(Refused) as refusal:
        change(server, project, scenario, flow=flow(PREMIUM))
    assert list(refused(refusal)) == [CONFIRMED]


def test_r1_other_countries_than_the_operators_are_refused(server: Server, project: Project) -> None:
    strict = only(server, "US", "CA")
    with pytest.raises(Refused) as refusal:
        create(strict, project, flow=flow(sure(GERMAN)))
    assert list(refused(refusal)) == [TO]
    assert "Germany. Calls may be forwarded to Canada and United States only." in refused(refusal)[TO]
    create(strict, project, flow=flow(LINE, "sip:desk@pbx.example.com"))


@pytest.mark.parametrize(
    ("to", "countries", "field", "code"),
    [(PREMIUM, (), CONFIRMED, "costs_unconfirmed"), (GERMAN, ("US",), TO, "country_not_allowed")],
)
def test_r12_what_was_stored_before_rings_on_and_is_pointed_out(
    server: Server, project: Project, to: str, countries: tuple[str, ...], field: str, code: str
) -> None:
    scenario = create(server, project, flow=flow(LINE), enabled=True)
    store_as_before(server, scenario, to)
    strict = only(server, *countries)
    saved = change(strict, project, scenario, title="Summer")
    assert (saved["enabled"], saved["flow"]["destinations"][0]["to"]) == (True, to), "it is saved and stays on"
    with server.database.reading() as session:
        stored = lint_stored(session, strict, project, [scenario])[scenario]
        of_document = lint(session, strict, project, scenario, saved)
    for findings in (stored, of_document):
        assert [(one.field, one.blocks) for one in findings if one.code == code] == [(field, True)]

    switch(strict, project, scenario, on=False)
    for enable in (
        lambda: switch(strict, project, scenario, on=True),
        lambda: connect(strict, project, scenario),
    ):
        with pytest.raises(Problem) as refusal:
            enable()
        assert (refusal.value.status, refusal.value.field) == (422, field)
    with pytest.raises(Refused) as errors:
        change(strict, project, scenario, enabled=True)
    assert list(refused(errors)) == [field]
    assert change(strict, project, scenario, title="Autumn")["enabled"] is False

    change(strict, project, scenario, flow=flow(sure(to) if to == PREMIUM else LINE))
    switch(strict, project, scenario, on=True)


def connect(server: Server, project: Project, scenario_id: int) -> None:
    with server.database.writing() as session:
        connect_scenario(Change(session, server, project, ALICE, NOON), scenario_id, None)


@pytest.mark.parametrize(("seconds", "warned"), [(20, False), (21, True), (600, True)])
def test_r2_more_than_twenty_seconds_leave_a_call_to_the_lines_voicemail(
    server: Server, project: Project, seconds: int, warned: bool
) -> None:
    lines = flow({"to": LINE, "ring_seconds": seconds}, "sip:desk@pbx.example.com")
    scenario = create(server, project, flow=lines)
    with server.database.reading() as session:
        findings = lint_stored(session, server, project, [scenario])[scenario]
    found = [(one.field, one.blocks) for one in findings if one.code == "long_ring"]
    assert found == ([("flow.destinations.0.ring_seconds", False)] if warned else [])
    assert all(
        f"rings for {seconds} s. Above 20 s the line's own voicemail may answer before the next destination rings"
        in one.sentence
        for one in findings
        if one.code == "long_ring"
    )


def test_the_steps_of_a_full_flow_ask_the_same() -> None:
    context = Context("US", knows_regions=False, countries=("US",))
    steps = [{"type": "ring", "destinations": [{"to": PREMIUM}, {"to": GERMAN}, sure(PREMIUM), {"to": LINE}]}]
    _, errors = parse_flow({"steps": steps}, context)
    assert set(errors) == {"flow.steps.0.destinations.0.costs_confirmed", "flow.steps.0.destinations.1.to"}
    stored, errors = parse_flow({"steps": steps})
    assert (stored is not None, errors) == (True, {}), "a stored flow is read as it is"


@pytest.mark.parametrize(("typed", "words"), [(PREMIUM, "premium-rate"), (GERMAN, "Germany")])
def test_a_fallback_destination_is_an_ordinary_line_of_an_allowed_country(
    server: Server, project: Project, typed: str, words: str
) -> None:
    strict = only(server, "US").settings
    values = PROJECT_VALUES | {"fallback_destination": typed}
    with pytest.raises(Problem) as refusal:
        parse(ProjectValues, values, known_here(strict, project))
    assert (refusal.value.status, refusal.value.field) == (422, "fallback_destination")
    assert words in refusal.value.detail
    project.fallback_destination = typed
    kept = parse(ProjectValues, values, known_here(strict, project))
    assert kept.fallback_destination == typed, "what is stored stays"


def test_the_operator_names_countries_by_their_codes() -> None:
    named = read_settings({"ROUTER_DESTINATION_COUNTRIES": "us, CA,GB,us"})
    assert named.destination_countries == ("US", "CA", "GB")
    assert read_settings({}).destination_countries == (), "all"
    for wrong in ("USA", "XX", "US;CA"):
        with pytest.raises(SettingsError, match=r"ROUTER_DESTINATION_COUNTRIES: .*is not a country"):
            read_settings({"ROUTER_DESTINATION_COUNTRIES": wrong})
