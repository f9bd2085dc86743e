"""R2: what the linter says, with the field and the wizard's step."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.models import Project
from router.scenarios.documents import scenario_document
from router.scenarios.lint import Finding, Linted, lint, lint_stored
from router.scenarios.models import Scenario
from router.scenarios.service import create_scenario
from router.server import Server
from tests.factories import NOON, make_project
from tests.scenarios.names import ALICE, FIRST, LINE, SECOND, THIRD

SOUND: dict[str, Any] = {
    "title": "Spring",
    "numbers": [FIRST],
    "flow": {"destinations": [{"to": LINE}]},
    "tagging": {"selectors": [".phone"], "format": "+1 (XXX) XXX-XXXX"},
    "integrations": {"webhook_end": {"url": "https://hooks.example.com"}},
}
STEPS = {"numbers", "forwarding", "tagging", "channels", "integrations", "terms"}


class Integrations:
    """The part of the floor above, as far as the linter sees it."""

    name = "integrations"
    form_template = ""

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}

    def check(self, session: Session, project: Project, scenario_id: int | None, value: Any) -> Any:
        return value

    def save(self, session: Session, project: Project, scenario_id: int, clean: Any, now: datetime) -> dict[str, Any]:
        self.kept[scenario_id] = clean
        return {}

    def show(self, session: Session, scenario_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
        return {one: self.kept.get(one, {}) for one in scenario_ids}

    def copy(self, session: Session, project: Project, original_id: int, copy_id: int, now: datetime) -> None:
        self.kept[copy_id] = self.kept[original_id]

    def read_form(self, form: Mapping[str, str]) -> Any:
        return {}


@pytest.fixture(autouse=True)
def _integrations(server: Server) -> None:
    server.scenario_parts.append(Integrations())


def linted(server: Server, project: Project, scenario_id: int | None = None, **document: Any) -> list[Finding]:
    with server.database.reading() as session:
        return lint(session, server, project, scenario_id, SOUND | document)


def create(server: Server, project: Project, **document: Any) -> int:
    with server.database.writing() as session:
        return create_scenario(Change(session, server, project, ALICE, NOON), SOUND | document)[0].id


def said(findings: Sequence[Finding]) -> list[tuple[str, str, str, bool]]:
    assert all(one.sentence.endswith(".") and one.step in STEPS for one in findings), findings
    return [(one.code, one.field, one.step, one.blocks) for one in findings]


def test_r2_nothing_is_said_about_a_sound_scenario(server: Server, project: Project) -> None:
    assert linted(server, project) == []
    assert linted(server, project, create(server, project)) == []


CASES: list[tuple[dict[str, Any], tuple[str, str, str, bool]]] = [
    ({"numbers": []}, ("no_numbers", "numbers", "numbers", False)),
    ({"flow": None}, ("no_destination", "flow.destinations", "forwarding", True)),
    (
        {"flow": {"destinations": [{"to": LINE}, {"to": "415 555 0122"}]}},
        ("tracking_destination", "flow.destinations.1.to", "forwarding", True),
    ),
    ({"to_buy": {"numbers": [THIRD]}}, ("taken_number", "to_buy.numbers.0", "numbers", False)),
    ({"integrations": {"crm": None}}, ("no_integration", "integrations", "integrations", False)),
    (
        {"terms": {"only_sources": ["google/cpc"], "excluded_sources": ["google"]}},
        ("nobody", "terms.only_sources", "terms", False),
    ),
    (
        {"channels": [{"match": {}, "kind": "dynamic"}, {"match": {"source": "x"}, "kind": "static", "number": FIRST}]},
        ("channel_unreached", "channels.1", "channels", False),
    ),
    (
        {
            "channels": [{"match": {"source": "bing"}, "kind": "dynamic"}],
            "terms": {"excluded_sources": ["bing"]},
        },
        ("channel_unreached", "channels.0", "channels", False),
    ),
    (
        {"upkeep": {"on": True}, "static": {FIRST: {"source": "flyer"}}},
        ("upkeep_static", "upkeep.on", "numbers", False),
    ),
    (
        {"tagging": {"format": "8 (XXX) XXX-XX-XX"}, "numbers": [FIRST]},
        ("foreign_format", "tagging.format", "tagging", False),
    ),
    (
        {"tagging": {"format": "XXX-XXX-XXXX 0"}, "numbers": [FIRST]},
        ("foreign_format", "tagging.format", "tagging", False),
    ),
]


@pytest.mark.parametrize(("document", "expected"), CASES)
def test_r2_each_finding_names_its_field_and_its_step(
    server: Server, project: Project, document: dict[str, Any], expected: tuple[str, str, str, bool]
) -> None:
    assert said(linted(server, project, **document)) == [expected]


def test_r2_numbers_that_are_to_be_bought_are_numbers(server: Server, project: Project) -> None:
    assert linted(server, project, numbers=[], to_buy={"count": 3}) == []


def test_r2_upkeep_is_fine_beside_one_dynamic_number(server: Server, project: Project) -> None:
    static = {FIRST: {"source": "flyer"}}
    assert linted(server, project, upkeep={"on": True}, static=static, numbers=[FIRST, SECOND]) == []


@pytest.mark.parametrize(
    ("theirs", "mine", "overlap"),
    [
        (".phone", ".phone", True),
        (".phone", "a.phone.big", True),
        ("#top a.phone", "a.phone", True),
        (".a, .phone", "b, .phone", True),
        ("#top   .phone", "#top .phone", True),
        (".phone", ".Phone", False),
        ("#top .phone", "#foot .phone", False),
        ("a", ".phone", False),
    ],
)
def test_r2_overlapping_selectors_name_the_other_scenario(
    server: Server, project: Project, theirs: str, mine: str, overlap: bool
) -> None:
    create(server, project, title="Autumn", tagging={"selectors": [theirs]})
    found = linted(server, project, numbers=[SECOND], tagging={"selectors": [".other", mine]})
    assert said(found) == ([("overlap", "tagging.selectors.1", "tagging", False)] if overlap else [])
    assert not overlap or "“Autumn”" in found[0].sentence


def test_r2_the_same_number_on_the_page_however_it_is_written_overlaps(server: Server, project: Project) -> None:
    create(server, project, title="Autumn", tagging={"replace": ["(415) 555-0100"]})
    found = linted(server, project, numbers=[SECOND], tagging={"replace": ["415.555.0100"]})
    assert said(found) == [("overlap", "tagging.replace.0", "tagging", False)]


def test_r2_neither_another_project_nor_a_deleted_scenario_nor_the_scenario_itself_overlaps(
    server: Server, project: Project
) -> None:
    own = create(server, project)
    with server.database.writing() as session:
        stranger = make_project(session, name="Zebra Windows")
        create_scenario(Change(session, server, stranger, ALICE, NOON), SOUND | {"numbers": []})
        gone, _ = create_scenario(Change(session, server, project, ALICE, NOON), SOUND | {"numbers": []})
        gone.deleted_at = NOON
    assert linted(server, project, own) == []


def test_r2_a_fallback_that_is_a_tracking_number_of_the_project_is_pointed_out(
    server: Server, project: Project
) -> None:
    with server.database.writing() as session:
        kept = session.get_one(Project, project.id)
        kept.fallback_destination = THIRD
        session.flush()
    found = linted(server, kept)
    assert said(found) == [("tracking_fallback", "flow", "forwarding", False)]


def test_r2_a_document_that_cannot_be_read_is_linted_as_far_as_it_can(server: Server, project: Project) -> None:
    junk = {"title": 7, "numbers": "x", "flow": {"destinations": [{"to": "boss"}, 7]}, "tagging": [], "terms": {"x": 1}}
    codes = {one.code for one in linted(server, project, **junk)}
    assert codes == {"no_numbers", "no_destination"}


def test_r2_stored_scenarios_are_linted_alike_one_by_one_and_all_at_once(server: Server, project: Project) -> None:
    ids = [
        create(server, project, enabled=True, title="Autumn"),
        create(server, project, enabled=True, numbers=[SECOND], tagging={"selectors": ["b.phone"], "format": "+7 XXX"}),
        create(server, project, numbers=[], flow=None, integrations={}, tagging={}, terms={"excluded_sources": ["*"]}),
    ]
    with server.database.reading() as session:
        together = lint_stored(session, server, project, ids)
        for scenario_id in ids:
            document = scenario_document(session, server, session.get_one(Scenario, scenario_id))
            assert together[scenario_id] == lint(session, server, project, scenario_id, document)
    assert [one.code for one in together[ids[0]]] == ["overlap"]
    assert [one.code for one in together[ids[1]]] == ["overlap", "foreign_format"]
    assert [one.code for one in together[ids[2]]] == ["no_numbers", "no_destination", "no_integration", "nobody"]


def test_r3_the_linter_asks_as_often_for_two_scenarios_as_for_forty(server: Server, project: Project) -> None:
    def statements() -> int:
        seen: list[str] = []

        def note(_: Any, __: Any, statement: str, *___: Any) -> None:
            seen.append(statement)

        with server.database.reading() as session:
            ids = session.scalars(select(Scenario.id)).all()
            event.listen(server.database.engine, "before_cursor_execute", note)
            found = lint_stored(session, server, project, ids)
            event.remove(server.database.engine, "before_cursor_execute", note)
        assert len(found) == len(ids)
        return len(seen)

    for title in ("One", "Two"):
        create(server, project, title=title, numbers=[], enabled=True)
    few = statements()
    for index in range(38):
        create(server, project, title=f"Scenario {index}", numbers=[], enabled=True)
    assert statements() == few


def test_r2_a_rule_of_a_floor_above_is_asked_once_for_all(server: Server, project: Project) -> None:
    asked: list[list[int]] = []
    small = Finding("small_pool", "The pool is far too small.", "numbers", "numbers")

    def rule(session: Session, scenarios: Sequence[Linted]) -> dict[int, list[Finding]]:
        asked.append([one.scenario_id for one in scenarios])
        return {one.scenario_id: [small] for one in scenarios if one.dynamic < 2}

    server.lint_rules.append(rule)
    ids = [create(server, project), create(server, project, numbers=[SECOND, THIRD], tagging={})]
    with server.database.reading() as session:
        assert lint_stored(session, server, project, ids) == {ids[0]: [small], ids[1]: []}
    assert linted(server, project)[-1] == small
    assert asked == [ids, [0]]
