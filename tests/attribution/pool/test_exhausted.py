"""R6 when every number of a pool is active: share one, show the overflow number, or keep the page's own; each is counted."""

from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient
from sqlalchemy import select, update

from router.attribution.models import Lease, Unserved
from router.attribution.pool.numbers import follow_numbers, hourly_loads
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from tests.counting import count_statements
from tests.factories import NOON, make_number, make_project, make_scenario

SITE = {"Origin": "https://shop.example", "User-Agent": "Mozilla/5.0"}
PAGE = "https://shop.example/?utm_source=google"
EXTRA = "+12125559009"


def shop(server: Server, numbers: int = 1, *, extra: bool = True, **values: Any) -> int:
    """A shop with one scenario of so many dynamic numbers, and an overflow number."""
    with server.database.writing() as session:
        project = make_project(session)
        scenario = make_scenario(session, project, numbers, **values)
        if extra:
            number = make_number(session, project, EXTRA, scenario)
            number.overflow = True
            follow_numbers(session, [number.id])
        return scenario.id


def view(client: FlaskClient, visitor: str | None = None, page: str = PAGE) -> dict[str, Any]:
    answer = client.post("/tag/k-shop/visits", json={"page": page, "visitor": visitor}, headers=SITE)
    assert answer.status_code == 201
    document: dict[str, Any] = answer.json
    return document


def shown(answer: dict[str, Any]) -> list[str]:
    return [one["e164"] for one in answer["numbers"]]


def alive(client: FlaskClient, visit: dict[str, Any]) -> Any:
    answer = client.post(f"/tag/k-shop/visits/{visit['token']}/alive", headers=SITE)
    return answer.json if answer.status_code == 200 else answer.status_code


def facts(server: Server) -> tuple[list[tuple[str, datetime]], list[bool]]:
    """What became of visits that no number was lent to, and which leases are shared."""
    with server.database.reading() as session:
        unserved = session.execute(select(Unserved.outcome, Unserved.at).order_by(Unserved.at)).all()
        return [(row.outcome, row.at) for row in unserved], list(session.scalars(select(Lease.shared)))


@pytest.mark.parametrize("aim", ["visit", "source"])
@pytest.mark.parametrize(("policy", "outcome", "instead"), [("overflow", "overflow", [EXTRA]), ("keep", "keep", [])])
def test_r6_who_finds_no_idle_number_is_shown_what_the_policy_says_and_counted_once(
    server: Server,
    client: FlaskClient,
    clock: time_machine.Traveller,
    policy: str,
    outcome: str,
    instead: list[str],
    aim: str,
) -> None:
    shop(server, 1, exhausted=policy, aim=aim)
    first = view(client)
    clock.shift(1)
    second = view(client)
    clock.shift(10)
    assert shown(view(client, second["visitor"])) == instead
    assert shown(first) != shown(second) == instead
    assert alive(client, second) == 204
    assert facts(server) == ([(outcome, NOON + timedelta(seconds=1))], [False])


def test_r6_sharing_is_the_default_and_its_leases_say_so(
    server: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    shop(server, 1)
    assert shown(view(client)) == shown(view(client))
    assert facts(server) == ([], [True, True])


def test_r6_without_an_overflow_number_the_page_keeps_its_own(
    server: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    shop(server, 1, exhausted="overflow", extra=False)
    view(client)
    assert shown(view(client)) == []
    assert facts(server)[0] == [("keep", NOON)]


def test_r6_the_overflow_number_is_never_lent(
    server: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    shop(server, 2)
    assert EXTRA not in [e164 for _ in range(5) for e164 in shown(view(client))]
    with server.database.writing() as session:
        session.execute(update(TrackingNumber).where(TrackingNumber.e164 != EXTRA).values(scenario_id=None))
        follow_numbers(session, session.scalars(select(TrackingNumber.id)).all())
    clock.shift(3600)
    assert shown(view(client)) == [], "a pool without numbers is not exhausted: it lends none"
    assert facts(server)[0] == []


def test_r6_a_visit_without_a_number_asks_anew_at_each_page_view_and_the_count_stays(
    server: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    shop(server, 1, exhausted="overflow")
    first = view(client)
    second = view(client)
    clock.shift(200)
    assert shown(view(client, second["visitor"])) == shown(first)
    assert facts(server) == ([("overflow", NOON)], [False, False])
    clock.shift(40)
    assert alive(client, second) == 204


@pytest.mark.parametrize("policy", ["overflow", "keep"])
def test_r6_a_page_whose_number_was_lent_to_somebody_else_goes_by_the_policy(
    server: Server, client: FlaskClient, clock: time_machine.Traveller, policy: str
) -> None:
    scenario = shop(server, 1, exhausted=policy)
    sleeper = view(client)
    clock.shift(200)
    assert shown(view(client)) == shown(sleeper)
    clock.shift(10)
    woken = alive(client, sleeper)
    assert [shown(woken), woken.get("withdrawn", [])] == ([[EXTRA], []] if policy == "overflow" else [[], [scenario]])
    assert facts(server) == ([(policy, NOON + timedelta(seconds=210))], [False, False])
    clock.shift(200)
    assert shown(alive(client, sleeper)) == shown(sleeper), "the number is idle again"


def test_r6_visits_of_one_visitor_are_not_sharing_under_any_policy(
    server: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    shop(server, 1, exhausted="keep")
    first = view(client)
    again = view(client, first["visitor"], "https://shop.example/?utm_source=mail")
    assert again["visit"] != first["visit"]
    assert shown(again) == shown(first)
    assert facts(server) == ([], [False, False])


def test_r6_whoever_shares_when_the_policy_changes_keeps_his_number(
    server: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    scenario = shop(server, 1)
    first, second = view(client), view(client)
    with server.database.writing() as session:
        session.execute(update(Scenario).where(Scenario.id == scenario).values(exhausted="keep"))
    clock.shift(60)
    assert shown(view(client, first["visitor"])) == shown(view(client, second["visitor"])) == shown(first)
    assert shown(view(client)) == []


def test_r6_aim_source_without_sharing_still_prefers_the_source_among_idle_numbers(
    server: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    shop(server, 2, exhausted="keep", aim="source")
    google = view(client)
    mail = view(client, page="https://shop.example/?utm_source=mail")
    clock.shift(200)
    assert shown(view(client, page="https://shop.example/?utm_source=mail")) == shown(mail)
    assert shown(view(client, page="https://shop.example/?utm_source=mail")) == shown(google)


def test_r6_while_numbers_are_idle_every_policy_costs_the_same_statements(
    server: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    scenario_id = shop(server, 10)
    view(client)
    costs = set()
    for policy in ("share", "overflow", "keep"):
        with server.database.writing() as session:
            session.execute(update(Scenario).where(Scenario.id == scenario_id).values(exhausted=policy))
        with count_statements(server.database) as first:
            visitor = view(client)["visitor"]
        with count_statements(server.database) as again:
            view(client, visitor)
        costs.add((len(first), len(again)))
    assert len(costs) == 1


def test_r6_the_hold_of_a_scenario_counts_for_its_numbers_and_for_the_tag(
    server: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    shop(server, 1, exhausted="keep", hold_seconds=60)
    first = view(client)
    assert (first["hold"], first["alive_every"]) == (60, 30)
    clock.shift(60)
    assert shown(view(client)) == []
    clock.shift(1)
    assert shown(view(client)) == shown(first)


def test_r6_the_tag_is_told_the_smallest_hold_and_only_when_it_is_not_its_own(
    server: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    with server.database.writing() as session:
        project = make_project(session)
        make_scenario(session, project, 1, hold_seconds=3600)
        second = make_scenario(session, project, 1, hold_seconds=150).id
    answer = view(client)
    assert ("hold" in answer, answer["alive_every"]) == (False, 45)
    with server.database.writing() as session:
        session.execute(update(Scenario).where(Scenario.id == second).values(enabled=False))
    answer = view(client)
    assert (answer["hold"], answer["alive_every"]) == (3600, 45)


def test_r9_visits_that_were_lent_none_are_a_load_of_the_pool_too(
    server: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    scenario_id = shop(server, 1, exhausted="keep")
    for _ in range(3):
        view(client)
    clock.shift(3600)
    with server.database.reading() as session:
        loads = hourly_loads(session, session.get_one(Scenario, scenario_id), NOON + timedelta(hours=1))
    assert max(load for sources in loads.values() for load in sources.values()) == pytest.approx(3 * 150 / 3600)
