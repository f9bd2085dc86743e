"""R6: the worker learns a scenario's survival curve from calls whose visitor is known well, and the next visit's number is chosen by it."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from router.attribution.models import PoolNumber
from router.attribution.pool.choice import CALLS_NEEDED, chance_after, learn
from router.attribution.tracking.page_views import view_page
from router.attribution.tracking.projects import find_tag_project
from router.attribution.tracking.schema import read_page_view
from router.attribution.tracking.sources import named_source
from router.lib.crypto import KeyRing
from router.reports.accuracy.figures import sure_calls
from router.reports.accuracy.jobs import learn_survival
from router.scenarios.models import Scenario
from router.server import Server
from router.voice.models import Call
from tests.factories import NOON, make_call, make_project, make_scenario

SURE: dict[str, Any] = {"confidence": 0.96, "rule": "lease"}


@pytest.fixture
def scenario_id(server: Server) -> int:
    with server.database.writing() as session:
        scenario = make_scenario(session, make_project(session), 2)
        return scenario.id


def called(server: Server, scenario_id: int, count: int, silent: int, tapped: int | None = None, **values: Any) -> None:
    """So many calls after so many seconds of silence."""
    with server.database.writing() as session:
        project = find_tag_project(session, "k-shop")
        assert project is not None
        candidates = [{"silent_seconds": silent, "tapped_seconds": tapped}, {"silent_seconds": 9}]
        one = make_call(
            session, project, "+12125551000", NOON, candidates=candidates, scenario_id=scenario_id, **values
        )  # type: ignore[arg-type] # it has an id, too
        row = {column.name: getattr(one, column.name) for column in Call.__table__.columns if column.name != "id"}
        session.execute(delete(Call).where(Call.id == one.id))
        first = session.scalars(select(Call.id).order_by(Call.id.desc()).limit(1)).first() or 0
        session.execute(insert(Call), [row | {"sid": f"CA{first}-{index}"} for index in range(count)])
        session.execute(update(Scenario).values(calls=Scenario.calls + count))


def learned(server: Server, scenario_id: int) -> list[Any] | None:
    learn_survival(server, NOON)
    with server.database.reading() as session:
        return session.get_one(Scenario, scenario_id).survival


def test_r6_a_curve_is_learned_from_the_thousandth_call_on(server: Server, scenario_id: int) -> None:
    called(server, scenario_id, CALLS_NEEDED - 1, 400, **SURE)
    assert learned(server, scenario_id) is None
    called(server, scenario_id, 1, 400, **SURE)
    assert learned(server, scenario_id) == learn([400] * CALLS_NEEDED)
    with server.database.writing() as session:
        session.execute(delete(Call).where(Call.id == select(Call.id).limit(1).scalar_subquery()))
    assert learned(server, scenario_id) is None


def test_r6_calls_whose_visitor_is_doubtful_teach_nothing_unless_he_tapped(server: Server, scenario_id: int) -> None:
    called(server, scenario_id, 1000, 400, confidence=0.94, rule="lease")
    called(server, scenario_id, 30, 400, confidence=1.0, rule="static")
    called(server, scenario_id, 30, 400, confidence=1.0, rule="repeat")
    assert learned(server, scenario_id) is None
    called(server, scenario_id, 1000, 600, tapped=3, confidence=0.5, rule="lease")
    with server.database.reading() as session:
        assert sure_calls(session, scenario_id) == 1000
    assert learned(server, scenario_id) == learn([600] * 1000)


def test_r6_the_next_visit_is_lent_a_number_by_the_learned_curve(server: Server, scenario_id: int) -> None:
    """Another source's number that is silent for ten times as long: by default the own one harms less, but here nobody calls so late."""
    google = named_source("google", "", "").key
    idle = {google: timedelta(minutes=5), google + 1: timedelta(minutes=40)}
    with server.database.writing() as session:
        numbers = session.scalars(select(PoolNumber).order_by(PoolNumber.number_id)).all()
        for number, (source_key, silent) in zip(numbers, idle.items(), strict=True):
            number.source_key, number.lease_started_at, number.last_sign_at = source_key, NOON - silent, NOON - silent
        own, other = numbers[0].e164, numbers[1].e164

    def shown(source: str) -> str:
        view = read_page_view({"page": f"https://shop.example/?utm_source={source}"})
        with server.database.reading() as session:
            found = find_tag_project(session, "k-shop")
            assert found is not None
            keys = KeyRing(("a-key-of-sixteen-letters",))
            [number] = view_page(session, keys, found, view, NOON).numbers
        return number.e164

    assert shown("google") == own
    called(server, scenario_id, 5000, 600, **SURE)
    curve = learned(server, scenario_id)
    assert chance_after(2400, curve) < chance_after(300, curve) / 11
    assert shown("google") == other
