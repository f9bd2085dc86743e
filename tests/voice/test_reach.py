"""R7, rule 3: how many leases of a number, and how old ones, are candidates of a call. The operator sets it; a call keeps what held."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from router.attribution.models import Lease
from router.config import Settings, SettingsError, read_settings
from router.lib.phones import read_caller
from router.reports.call_detail import steps_of
from router.server import Server
from router.voice.calls import decide_later_calls
from router.voice.models import Call
from router.voice.routing import find_route
from tests.counting import count_statements
from tests.factories import NOON, make_leased_visit, make_project, make_scenario
from tests.voice.carrier import CarrierClient

NUMBER = "+12125550190"
BERTA = "+14155550178"


@pytest.fixture
def carrier(server: Server, client: FlaskClient, clock: Any) -> CarrierClient:
    """One number, which was lent to one visit two days ago and to three within the last hour."""
    with server.database.writing() as session:
        scenario = make_scenario(session, make_project(session), [NUMBER])
        for ago in (2880, 50, 40, 30):
            make_leased_visit(session, scenario, NOON - timedelta(minutes=ago), minutes=4)
    return CarrierClient(client, server)


@pytest.fixture
def sets(server: Server) -> Callable[..., None]:
    def change(**values: int) -> None:
        server.settings = Settings(**(server.settings.model_dump() | values))

    return change


def call(server: Server, sid: str) -> Call:
    with server.database.reading() as session:
        return session.scalars(select(Call).where(Call.sid == sid)).one()


def visits(server: Server, sid: str) -> list[int]:
    return sorted(one["visit"] - 10_000 for one in call(server, sid).candidates)


def said(server: Server, sid: str) -> str:
    return next(step.answer for step in steps_of(call(server, sid)) if step.question.startswith("Who"))


def test_r7_the_candidates_are_as_many_and_as_young_as_the_operator_set(
    server: Server, carrier: CarrierClient, sets: Callable[..., None], clock: Any
) -> None:
    carrier.dial(NUMBER, "+14155550170", "CA1")
    sets(candidate_days=2)
    carrier.dial(NUMBER, "+14155550171", "CA2")
    sets(candidate_leases=2)
    carrier.dial(NUMBER, "+14155550172", "CA3")
    assert [visits(server, sid) for sid in ("CA1", "CA2", "CA3")] == [[1, 2, 3, 4], [2, 3, 4], [3, 4]]
    clock.shift(timedelta(days=2))
    carrier.dial(NUMBER, "+14155550173", "CA4")
    sets(candidate_days=1)
    carrier.dial(NUMBER, "+14155550174", "CA5")
    assert call(server, "CA5").rule == "none"
    assert [said(server, sid) for sid in ("CA4", "CA5")] == ["Nobody in the last 2 days.", "Nobody in the last day."]


def test_r7_a_call_that_is_decided_again_keeps_the_reach_that_held_when_it_came(
    server: Server, carrier: CarrierClient, sets: Callable[..., None], clock: Any
) -> None:
    sets(candidate_leases=2, candidate_days=1)
    carrier.dial(NUMBER, BERTA, "CA1")
    sets(candidate_leases=50, candidate_days=30)
    before = call(server, "CA1")
    clock.shift(timedelta(days=3))
    again(server)
    after = call(server, "CA1")
    assert (after.candidates, after.decision) == (before.candidates, before.decision)
    assert visits(server, "CA1") == [3, 4]


def test_r7_nothing_changes_in_a_call_of_a_release_that_kept_no_reach(server: Server, carrier: CarrierClient) -> None:
    carrier.dial(NUMBER, BERTA, "CA1")
    with server.database.writing() as session:
        old = session.scalars(select(Call)).one()
        given = {name: old.decision["given"][name] for name in ("repeat_credit", "static_source", "hold_seconds")}
        old.decision = old.decision | {"given": given}
        old.counted = True
    again(server)
    after = call(server, "CA1")
    assert (after.decision["given"], after.counted) == (given, True)


def again(server: Server) -> None:
    """What an earlier call that becomes known late does to those after it."""
    with server.database.writing() as session:
        route = find_route(session, NUMBER)
        assert route is not None
        decide_later_calls(server, session, route, read_caller(BERTA), NOON, server.now())


def test_r7_of_leases_of_one_moment_the_later_turns_are_candidates(
    server: Server, carrier: CarrierClient, sets: Callable[..., None]
) -> None:
    """In whatever order the rows were written."""
    with server.database.writing() as session:
        leases = session.scalars(select(Lease).order_by(Lease.turn)).all()
        for lease in leases[1:]:
            lease.started_at, lease.turn = NOON - timedelta(minutes=50), 10 - lease.turn
    for number in (1, 2, 3):
        sets(candidate_leases=number)
        carrier.dial(NUMBER, f"+1415555017{number}", f"CA{number}")
    assert [visits(server, f"CA{number}") for number in (1, 2, 3)] == [[2], [2, 3], [2, 3, 4]]


def test_r7_the_settings_cost_no_statement(server: Server, carrier: CarrierClient, sets: Callable[..., None]) -> None:
    counts = []
    for sid, leases in (("CA0", 50), ("CA1", 50), ("CA2", 3)):
        sets(candidate_leases=leases)
        with count_statements(server.database) as heard:
            carrier.dial(NUMBER, f"+1415555017{sid[-1]}", sid)
        counts.append(len(heard))
    assert counts[1] == counts[2]


@pytest.mark.parametrize(
    ("variable", "junk"),
    [(f"ROUTER_CANDIDATE_{what}", junk) for what, most in (("LEASES", 201), ("DAYS", 366)) for junk in (0, most, "x")],
)
def test_r7_a_reach_that_cannot_be_is_refused_by_name(variable: str, junk: Any) -> None:
    with pytest.raises(SettingsError, match=variable):
        read_settings({variable: str(junk)})
