"""R6, R7, R8: pages report which numbers stand on them; a number that was given and never shown is as free as if it had not been given."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from router.attribution.decision import weighed_candidates
from router.attribution.models import AccuracyDay, AccuracyDue, Lease, PoolNumber
from router.attribution.pool.numbers import follow_numbers
from router.db import LONG_AGO
from router.reports.accuracy.jobs import refresh_accuracy
from router.reports.counters import ColumnKeeper
from router.scenarios.models import Scenario, TrackingNumber
from router.server import Server
from tests.attribution.asking import GOOGLE, sign, view
from tests.counting import count_statements
from tests.factories import NOON, make_number, make_project, make_scenario

BING = "https://shop.example/?utm_source=bing&utm_medium=cpc"
HOLD = timedelta(seconds=150)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def shop(server: Server, clock: Any) -> Server:
    """One number for everybody, in scenario 1."""
    with server.database.writing() as session:
        assert make_scenario(session, make_project(session), 1).id == 1
    return server


def leases(server: Server) -> list[Lease]:
    with server.database.reading() as session:
        return list(session.scalars(select(Lease).order_by(Lease.id)))


def days(server: Server) -> list[AccuracyDay]:
    with server.database.reading() as session:
        return list(session.scalars(select(AccuracyDay).order_by(AccuracyDay.day)))


def marks(server: Server) -> list[tuple[bool, bool]]:
    return [(one.shared, one.mixed) for one in leases(server)]


def pool(server: Server) -> tuple[Any, ...]:
    """Whose the number is, and since when and until when it was shown."""
    with server.database.reading() as session:
        row = session.scalars(select(PoolNumber)).one()
        return row.visitor, row.source_key, row.lease_started_at, row.last_sign_at


def candidates(server: Server, at: datetime) -> list[int]:
    """The visit numbers that may have called the number at a moment."""
    with server.database.reading() as session:
        number_id = session.scalars(select(TrackingNumber.id)).one()
        weighed, _ = weighed_candidates(session, number_id, HOLD, at)
    return [one.candidate.visit for one in weighed]


def number(answer: dict[str, Any]) -> str:
    return str(answer["numbers"][0]["e164"])


def test_r6_a_number_that_stands_nowhere_on_the_page_is_free_again_at_once(shop: Server, client: FlaskClient) -> None:
    first = view(client).get_json()
    answer = sign(client, first["token"], shown=[])
    assert (answer.status_code, answer.get_json()) == (200, {"numbers": [], "withdrawn": [1]})
    assert pool(shop) == ("", 0, LONG_AGO, LONG_AGO)
    assert number(view(client, BING).get_json()) == number(first)
    assert marks(shop) == [(False, False)] * 2
    [returned, lent] = leases(shop)
    assert (returned.shown_at, returned.returned_at, lent.returned_at, lent.turn) == (None, NOON, None, 2)
    assert sign(client, first["token"], shown=[]).status_code == 204, "it is said once"


def test_r6_a_number_that_has_stood_on_a_page_stays_the_visits(shop: Server, client: FlaskClient, clock: Any) -> None:
    """Another page of the visit may have no place for it."""
    token = view(client).get_json()["token"]
    for shown in ([1, 7], [1], []):
        assert sign(client, token, shown=shown).status_code == 204
        assert sign(client, token, "left", shown=shown).status_code == 204
        clock.shift(timedelta(seconds=1))
    [lease] = leases(shop)
    assert (lease.shown_at, lease.returned_at) == (NOON, None)


def test_r6_who_says_nothing_gives_nothing_back(shop: Server, client: FlaskClient) -> None:
    token = view(client).get_json()["token"]
    assert sign(client, token).status_code == sign(client, token, shown=None).status_code == 204
    assert client.post(f"/tag/k-shop/visits/{token}/left").status_code == 204
    [lease] = leases(shop)
    assert (lease.shown_at, lease.returned_at) == (None, None)


def test_a_report_that_is_no_list_of_scenarios_is_refused(shop: Server, client: FlaskClient) -> None:
    token = view(client).get_json()["token"]
    for shown in (1, "1", {}, [True], [1.0], ["1"], [None], [[1]], list(range(101))):
        for kind in ("alive", "left"):
            answer = sign(client, token, kind, shown=shown)
            assert (answer.status_code, answer.get_json()["field"]) == (422, "shown")


def test_scenarios_that_nobody_has_are_passed_over(shop: Server, client: FlaskClient) -> None:
    token = view(client).get_json()["token"]
    assert sign(client, token, shown=[-1, 0, 1, 2**70]).status_code == 204


def test_r6_a_page_that_is_left_keeps_its_number_for_the_next_one_that_may_be_there_already(
    shop: Server, client: FlaskClient
) -> None:
    """The word of leaving may arrive after the next page's view."""
    first = view(client).get_json()
    assert view(client, visitor=first["visitor"]).get_json() == first
    before = pool(shop)
    assert sign(client, first["token"], "left", shown=[]).status_code == 204
    assert pool(shop) == before
    [lease] = leases(shop)
    assert (lease.shown_at, lease.returned_at, lease.unplaced_at) == (None, None, NOON)
    assert sign(client, first["token"], shown=[1]).status_code == 204
    assert [one.shown_at for one in leases(shop)] == [NOON]


def test_r8_a_visit_that_left_before_its_number_stood_anywhere_does_not_count(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    tokens = [view(client).get_json()["token"] for _ in range(3)]
    for token in tokens[:2]:
        sign(client, token, "left", shown=[])
    clock.shift(5 * MINUTE)
    refresh_accuracy(shop, shop.now())
    assert [(one.visits, one.shared) for one in days(shop)] == [(1, 1)]
    sign(client, tokens[0], shown=[1])
    clock.shift(5 * MINUTE)
    refresh_accuracy(shop, shop.now())
    assert [(one.visits, one.shared) for one in days(shop)] == [(2, 1)], "it came back to the number alone"


def test_r6_a_page_that_finds_a_place_later_asks_anew(shop: Server, client: FlaskClient) -> None:
    first = view(client).get_json()
    sign(client, first["token"], shown=[])
    again = view(client, visitor=first["visitor"]).get_json()
    assert again == first
    assert sign(client, again["token"], shown=[1]).status_code == 204
    assert [(one.turn, one.shown_at, one.returned_at) for one in leases(shop)] == [(1, None, NOON), (2, NOON, None)]


def test_r6_another_tab_that_shows_the_number_takes_it_again(shop: Server, client: FlaskClient) -> None:
    token = view(client).get_json()["token"]
    for kind in ("alive", "left"):
        sign(client, token, shown=[])
        assert sign(client, token, kind, shown=[1]).status_code == 204
        assert sign(client, token, shown=[]).status_code == 204, "it stands on a page of the visit"
        [returned, taken] = leases(shop)
        assert (returned.returned_at, taken.shown_at, taken.shared) == (NOON, NOON, False)


def test_r6_another_tab_whose_number_was_lent_on_meanwhile_shows_another(shop: Server, client: FlaskClient) -> None:
    with shop.database.writing() as session:
        scenario = session.get_one(Scenario, 1)
        project = make_project(session, key="k-other")
    first = view(client).get_json()
    sign(client, first["token"], shown=[])
    view(client, BING)
    with shop.database.writing() as session:
        make_number(session, project, "+12125559001", scenario)
    assert sign(client, first["token"], "left", shown=[1]).status_code == 204, "nobody waits for the answer"
    assert number(sign(client, first["token"], shown=[1]).get_json()) == "+12125559001"
    assert marks(shop) == [(False, False)] * 3


@pytest.mark.parametrize("shown", [[1], []])
def test_r8_a_number_that_takes_the_place_of_one_on_the_page_stands_there_too(
    shop: Server, client: FlaskClient, clock: Any, shown: list[int]
) -> None:
    """The page swaps it and says no more. Another page of the visit, which has no place, does not give it back."""
    with shop.database.writing() as session:
        scenario = session.get_one(Scenario, 1)
        project = make_project(session, key="k-other")
    first = view(client).get_json()
    sign(client, first["token"], shown=shown)
    clock.shift(5 * MINUTE)
    view(client, BING)  # to whom the number is lent while the first one sleeps
    with shop.database.writing() as session:
        make_number(session, project, "+12125559001", scenario)
    if not shown:
        assert sign(client, first["token"]).status_code == 204, "it had given the number back"
        return
    assert number(sign(client, first["token"]).get_json()) == "+12125559001"
    assert [one.shown_at for one in leases(shop)] == [NOON, None, NOON + 5 * MINUTE]
    assert sign(client, first["token"], shown=[]).status_code == 204
    assert [one.returned_at for one in leases(shop)] == [None, None, None]


def test_r6_a_number_that_was_lent_on_meanwhile_stays_where_it_is(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    first = view(client).get_json()
    clock.shift(3 * MINUTE)
    view(client, BING)
    before = pool(shop)
    assert sign(client, first["token"], shown=[]).get_json()["withdrawn"] == [1]
    assert pool(shop) == before
    assert [one.returned_at for one in leases(shop)] == [NOON + 3 * MINUTE, None]


def test_r6_an_ended_visit_still_gets_its_number_back_after_one_that_did_not_show_it(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    first = view(client).get_json()
    sign(client, first["token"], shown=[1])
    before = pool(shop)
    clock.shift(3 * MINUTE)
    other = view(client, BING).get_json()
    clock.shift(MINUTE)
    sign(client, other["token"], shown=[])
    assert pool(shop) == before
    clock.shift(MINUTE)
    assert sign(client, first["token"], shown=[1]).status_code == 204
    assert pool(shop) == (first["visitor"], before[1], NOON + 5 * MINUTE, NOON + 5 * MINUTE)
    assert marks(shop) == [(False, False)] * 3


@pytest.mark.parametrize("gives_back", [0, 1])
def test_r8_who_shared_only_with_a_number_given_back_has_it_to_himself_again(
    shop: Server, client: FlaskClient, clock: Any, gives_back: int
) -> None:
    """Also when his day had been counted before."""
    tokens = [view(client, page).get_json()["token"] for page in (GOOGLE, BING)]
    assert marks(shop) == [(True, True)] * 2
    clock.shift(5 * MINUTE)
    refresh_accuracy(shop, shop.now())
    sign(client, tokens[gives_back], shown=[])
    assert marks(shop)[1 - gives_back] == (False, False)
    with shop.database.reading() as session:
        assert session.scalars(select(AccuracyDue.at)).all() == [NOON]
    refresh_accuracy(shop, shop.now())
    with shop.database.reading() as session:
        assert session.get_one(Scenario, 1).accuracy == 100


def test_r8_who_still_shares_with_others_of_his_source_is_mixed_no_more(shop: Server, client: FlaskClient) -> None:
    tokens = [view(client, page).get_json()["token"] for page in (GOOGLE, GOOGLE, BING)]
    assert marks(shop) == [(True, True)] * 3
    sign(client, tokens[2], shown=[])
    assert marks(shop)[:2] == [(True, False)] * 2
    sign(client, tokens[0], shown=[])
    assert marks(shop)[1] == (False, False)


def test_r8_a_visit_that_never_showed_its_number_does_not_count(shop: Server, client: FlaskClient, clock: Any) -> None:
    tokens = [view(client).get_json()["token"] for _ in range(3)]
    for token in tokens[:2]:
        sign(client, token, shown=[])
    clock.shift(5 * MINUTE)
    refresh_accuracy(shop, shop.now())
    with shop.database.reading() as session:
        assert session.get_one(Scenario, 1).accuracy == 100


def test_r7_a_number_given_back_is_no_candidate_from_then_on_whenever_the_call_is_decided(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    first = view(client).get_json()
    clock.shift(timedelta(seconds=45))
    moments = [NOON + timedelta(seconds=seconds) for seconds in (0, 44.9, 45, 46)]
    before = [candidates(shop, at) for at in moments[:2]]
    sign(client, first["token"], shown=[])
    assert before == [[first["visit"]]] * 2
    assert [candidates(shop, at) for at in moments] == [*before, [], []]


def test_r6_plain_signs_of_life_and_repeated_reports_cost_the_same(shop: Server, client: FlaskClient) -> None:
    token = view(client).get_json()["token"]
    counts = []
    for body in ({}, {"shown": [1]}, {"shown": [1]}, {"shown": []}, {}):
        with count_statements(shop.database) as heard:
            sign(client, token, **body)
        counts.append(len(heard))
    plain, first, *later = counts
    assert first == plain + 1
    assert later == [plain] * 3


def test_r6_a_number_that_comes_back_to_its_pool_was_last_shown_by_who_kept_it(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    view(client)
    clock.shift(3 * MINUTE)
    sign(client, view(client, BING).get_json()["token"], shown=[])
    with shop.database.writing() as session:
        number = session.scalars(select(TrackingNumber)).one()
        for scenario_id in (None, 1):
            number.scenario_id = scenario_id
            follow_numbers(session, [number.id])
        row = session.scalars(select(PoolNumber)).one()
        assert (row.turn, row.lease_started_at, row.last_sign_at) == (2, NOON, NOON)


def test_r3_a_number_was_last_shown_by_who_kept_it(shop: Server, client: FlaskClient, clock: Any) -> None:
    def last_shown() -> tuple[Any, ...]:
        ColumnKeeper().refresh(shop, shop.now())
        with shop.database.reading() as session:
            return tuple(session.execute(select(TrackingNumber.last_shown_at, TrackingNumber.last_visit)).one())

    first = view(client).get_json()
    assert last_shown() == (NOON, 10001)
    sign(client, first["token"], shown=[])
    assert last_shown() == (None, None)
    view(client)
    clock.shift(3 * MINUTE)
    other = view(client, BING).get_json()
    assert last_shown() == (NOON + 3 * MINUTE, 10003)
    sign(client, other["token"], shown=[])
    assert last_shown() == (NOON, 10002)


def test_r13_of_free_numbers_nothing_is_known(server: Server, client: FlaskClient, clock: Any) -> None:
    with server.database.writing() as session:
        make_number(session, make_project(session), "+12125559001")
    token = view(client).get_json()["token"]
    assert sign(client, token, shown=[]).status_code == 204
    assert [one.returned_at for one in leases(server)] == [None]
