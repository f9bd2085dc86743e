"""R13: without any scenario the project's free numbers form one pool, for pages of the old logic."""

import json
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from router.accounts.audit import Actor, Change
from router.accounts.models import Project
from router.attribution.models import Lease, PoolNumber, free_pool_id, is_free_pool
from router.attribution.pool.leases import begins
from router.attribution.pool.numbers import settle_free_numbers
from router.attribution.pool.unplaced import shown_numbers
from router.attribution.tracking.page_views import suffixes_by_number
from router.attribution.tracking.schema import read_groups
from router.db import Database
from router.lib.phones import read_caller
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import add_number, add_numbers, remove_number
from router.scenarios.service import create_scenario, delete_scenario
from router.server import Server
from router.voice.calls import attribute
from router.voice.routing import find_route
from tests.factories import COMPANY_LINE, NOON, make_project

SITE = {"Origin": "https://shop.example", "User-Agent": "Mozilla/5.0"}
GOOGLE = "https://shop.example/?utm_source=google&utm_medium=cpc"
ALICE = Actor("alice")
MOSCOW, SPB, SPB_TOO, NEW_YORK = "+74951230001", "+78121230001", "+78121230002", "+12125550001"
FALLBACK = "+14155550111"


@pytest.fixture
def shop(server: Server) -> int:
    """A project without scenarios, with four free numbers."""
    with server.database.writing() as session:
        project = make_project(session, country="RU")
        add_numbers(Change(session, server, project, ALICE, NOON), [MOSCOW, SPB, SPB_TOO, NEW_YORK])
        return project.id


def view(client: FlaskClient, visitor: str | None = None, page: str = GOOGLE, **body: Any) -> dict[str, Any]:
    answer = client.post(
        "/tag/k-shop/visits", json={"page": page, "referrer": "", "visitor": visitor} | body, headers=SITE
    )
    assert answer.status_code == 201
    found: dict[str, Any] = answer.get_json()
    return found


def alive(client: FlaskClient, visit: dict[str, Any], **body: Any) -> Any:
    answer = client.post(f"/tag/k-shop/visits/{visit['token']}/alive", json=body, headers=SITE)
    return answer.status_code, answer.get_json(silent=True)


def shown(visit: dict[str, Any]) -> dict[str, str]:
    """Number by class suffix."""
    return {suffix: number["e164"] for number in visit["numbers"] for suffix in number["suffixes"]}


def pool(database: Database) -> set[str]:
    with database.reading() as session:
        return set(session.scalars(select(PoolNumber.e164).where(is_free_pool(PoolNumber.scenario_id))))


def new_scenario(server: Server, project_id: int, numbers: list[str], enabled: bool = True) -> int:
    document = {
        "title": "Main",
        "numbers": numbers,
        "flow": {"destinations": [{"to": COMPANY_LINE}]},
        "tagging": {"selectors": [".phone"]},
        "enabled": enabled,
    }
    with server.database.writing() as session:
        project = session.get_one(Project, project_id)
        return create_scenario(Change(session, server, project, ALICE, NOON), document)[0].id


def test_r13_every_visitor_gets_a_free_number_with_its_parts(
    shop: int, server: Server, client: FlaskClient, clock: Any
) -> None:
    first = view(client)
    [number] = first["numbers"]
    assert number["scenario"] is None
    assert number["suffixes"] == [""]
    assert (number["selectors"], number["replace"]) == ([], [])
    assert "8 (495) 123-00-01" in [shown for _, shown, *_ in number["written"]]
    others = {view(client)["numbers"][0]["e164"] for _ in range(3)}
    assert others | {number["e164"]} == {MOSCOW, SPB, SPB_TOO, NEW_YORK}
    clock.shift(timedelta(minutes=5))
    assert view(client, first["visitor"], "https://shop.example/b") == first
    moscow = view(client, prefixes=[{"prefix": "7495"}])["numbers"][0]
    assert moscow["parts"] == {"country": "7", "region": "495", "number": "123-00-01"}
    assert moscow["display"] == "8 (495) 123-00-01"


def test_r5_a_free_number_that_a_visitor_sees_is_known_to_be_shown(
    shop: int, server: Server, client: FlaskClient, clock: Any
) -> None:
    e164 = shown(view(client))[""]
    with server.database.reading() as session:
        numbers = {one.id: one.e164 for one in session.scalars(select(TrackingNumber))}
        seen = [shown_numbers(session, numbers, NOON + timedelta(seconds=seconds)) for seconds in (150, 151)]
    assert [[numbers[one] for one in found] for found in seen] == [[e164], []]


def test_r13_a_prefix_limits_the_pool_to_numbers_that_begin_so(shop: int, client: FlaskClient) -> None:
    for prefix in ("7812", "+7 (812)"):
        given_numbers = {shown(view(client, prefixes=[{"prefix": prefix}]))[""] for _ in range(3)}
        assert given_numbers == {SPB, SPB_TOO}
    two = [{"prefix": "7495"}, {"prefix": "1"}]
    assert {shown(view(client, prefixes=two))[""] for _ in range(6)} == {MOSCOW, NEW_YORK}
    assert view(client, prefixes=[{"prefix": "49"}])["numbers"] == []


BOUND = [{"prefix": "7495", "suffix": "msk"}, {"prefix": "7812", "suffix": "spb"}, {"prefix": "49", "suffix": "de"}]


def test_r13_a_bound_prefix_gives_its_class_suffix_a_number_of_its_own(
    shop: int, server: Server, client: FlaskClient, clock: Any
) -> None:
    first = view(client, prefixes=BOUND)
    assert shown(first)["msk"] == shown(first)[""] == MOSCOW
    assert shown(first)["spb"] in (SPB, SPB_TOO)
    assert "de" not in shown(first), "no number begins so: those elements keep their own"
    clock.shift(timedelta(minutes=1))
    assert view(client, first["visitor"], "https://shop.example/b", prefixes=BOUND) == first
    another_visit = view(client, first["visitor"], "https://shop.example/?utm_source=mail", prefixes=BOUND)
    assert another_visit["visit"] != first["visit"]
    assert shown(another_visit) == shown(first), "a visitor keeps his numbers"
    with server.database.reading() as session:
        assert session.scalars(select(Lease.shared)).all() == [False] * 4


def test_r13_signs_of_life_keep_free_numbers_and_tell_when_one_was_given_away(
    shop: int, client: FlaskClient, clock: Any
) -> None:
    first = view(client, prefixes=BOUND)
    for _ in range(10):
        clock.shift(timedelta(seconds=120))
        assert alive(client, first, prefixes=BOUND) == (204, None)
        assert MOSCOW not in shown(view(client)).values(), "it is held"
    clock.shift(timedelta(minutes=20))
    taken = shown(view(client, prefixes=BOUND[:1]))["msk"]
    assert taken == MOSCOW
    clock.shift(timedelta(minutes=5))
    status, answer = alive(client, first, prefixes=BOUND)
    assert status == 200
    assert set(shown(answer)) == {"", "msk", "spb"}
    clock.shift(timedelta(seconds=45))
    assert alive(client, first, prefixes=BOUND) == (204, None)


def test_r13_a_call_to_a_free_number_goes_to_the_fallback_destination_and_is_attributed_by_its_lease(
    shop: int, server: Server, client: FlaskClient, clock: Any
) -> None:
    number = view(client)["numbers"][0]["e164"]
    clock.shift(timedelta(minutes=1))
    with server.database.reading() as session:
        route = find_route(session, number)
        assert route is not None
        assert route.flow["destinations"][0]["to"] == FALLBACK
        assert route.hold == timedelta(seconds=150)
        decision, _ = attribute(session, route, read_caller("+14155557777"), server.now())
    assert decision.rule == "lease"
    assert decision.source is not None
    assert decision.source["source"] == "google"


def test_r13_with_a_scenario_the_free_numbers_are_silent_and_without_one_they_speak_again(
    shop: int, server: Server, client: FlaskClient, clock: Any
) -> None:
    visit = view(client, prefixes=BOUND)
    scenario_id = new_scenario(server, shop, [NEW_YORK])
    assert pool(server.database) == set()
    assert [one["scenario"] for one in view(client)["numbers"]] == [scenario_id]
    assert alive(client, visit, prefixes=BOUND) == (204, None)
    with server.database.writing() as session:
        session.execute(update(Scenario).values(enabled=False))
    assert view(client)["numbers"] == [], "one that is disabled is a scenario too"
    with server.database.writing() as session:
        delete_scenario(Change(session, server, session.get_one(Project, shop), ALICE, NOON), scenario_id)
    assert pool(server.database) == {MOSCOW, SPB, SPB_TOO, NEW_YORK}
    assert view(client)["numbers"][0]["scenario"] is None
    clock.shift(timedelta(minutes=3))
    assert {shown(view(client))[""] for _ in range(4)} == pool(server.database), (
        "its old leases do not stand in the way"
    )


def test_r13_a_suspended_project_and_a_page_that_wants_scenarios_show_no_free_number(
    shop: int, server: Server, client: FlaskClient
) -> None:
    assert view(client, scenarios=[14])["numbers"] == []
    with server.database.writing() as session:
        session.execute(update(Project).values(suspended_at=NOON))
    answer = client.post("/tag/k-shop/visits", json={"page": GOOGLE}, headers=SITE)
    assert answer.status_code == 204


def test_r13_no_page_can_name_the_pool_of_free_numbers_as_if_it_were_a_scenario(shop: int, client: FlaskClient) -> None:
    assert view(client, scenarios=[free_pool_id(shop)])["numbers"] == []
    visit = view(client)
    [number] = visit["numbers"]
    assert alive(client, visit, shown=[free_pool_id(shop)]) == (204, None)
    assert view(client, visit["visitor"])["numbers"] == [number]


def test_r13_the_pool_follows_numbers_that_are_added_and_removed(shop: int, server: Server) -> None:
    with server.database.writing() as session:
        project = session.get_one(Project, shop)
        added = add_number(Change(session, server, project, ALICE, NOON), "+12125550002")
        remove_number(Change(session, server, project, ALICE, NOON), added.id)
        add_number(Change(session, server, project, ALICE, NOON), "+12125550003")
    assert pool(server.database) == {MOSCOW, SPB, SPB_TOO, NEW_YORK, "+12125550003"}


def test_r13_the_worker_settles_what_nobody_announced(shop: int, server: Server) -> None:
    with server.database.writing() as session:
        other = make_project(session, key="k-other")
        session.add(TrackingNumber(project_id=other.id, e164="+12125550009", created_at=NOON))
        session.execute(update(TrackingNumber).where(TrackingNumber.e164 == MOSCOW).values(releasing_at=NOON))
        session.execute(update(TrackingNumber).where(TrackingNumber.e164 == SPB).values(released_at=NOON))
    settle_free_numbers(server, NOON)
    assert pool(server.database) == {SPB_TOO, NEW_YORK, "+12125550009"}
    with server.database.writing() as session:
        session.add(Scenario(project_id=shop, title="x", tagging={}, created_at=NOON))
    settle_free_numbers(server, NOON)
    settle_free_numbers(server, NOON)
    assert pool(server.database) == {"+12125550009"}


@pytest.mark.parametrize("prefixes", ["7495", {"7495": "msk"}, 7495])
def test_prefixes_that_are_no_list_are_refused_and_leave_nothing(
    shop: int, server: Server, client: FlaskClient, prefixes: Any
) -> None:
    answer = client.post("/tag/k-shop/visits", json={"page": GOOGLE, "prefixes": prefixes}, headers=SITE)
    assert (answer.status_code, answer.get_json()["field"]) == (422, "prefixes")
    with server.database.reading() as session:
        assert session.scalar(select(func.count(Lease.id))) == 0


def test_r13_what_a_page_variable_holds_besides_prefixes_is_dropped() -> None:
    junk: list[Any] = [
        None,
        "7495",
        {"prefix": []},
        {"prefix": "1", "suffix": []},
        {"prefix": "1", "suffix": "a b"},
        {},
    ]
    assert read_groups({"prefixes": junk}) == {"": ()}
    assert read_groups({"prefixes": [{"prefix": 7495}, {"prefix": "+7 (812), x, 1"}]}) == {"": ("7495", "7812", "1")}
    bound = [{"prefix": "7", "suffix": "ru"}, {"prefix": "1"}, {"prefix": "8", "suffix": "ru"}]
    assert list(read_groups({"prefixes": bound}).items()) == [("ru", ("7", "8")), ("", ("1",))]
    assert sum(map(len, read_groups({"prefixes": [{"prefix": "1,2,3"}] * 50}).values())) == 20


entries = st.fixed_dictionaries(
    {"prefix": st.text("+7495812 %_x", max_size=30)}, optional={"suffix": st.text("ms-_k .<é", max_size=60)}
)
numbers = st.sampled_from([MOSCOW, SPB, SPB_TOO, NEW_YORK])


@given(st.lists(entries, max_size=20), st.sets(numbers))
def test_r13_an_element_never_shows_a_number_that_does_not_begin_as_it_asks(
    posted: list[dict[str, str]], free: set[str]
) -> None:
    groups = read_groups({"prefixes": posted})
    assert list(groups)[-1] == ""
    assert all(prefix.isdigit() and len(prefix) <= 15 for prefixes in groups.values() for prefix in prefixes)
    left = sorted(free)

    def give(prefixes: tuple[str, ...]) -> str | None:
        return next((one for one in left if begins(one, prefixes)), None)

    answer = suffixes_by_number(groups, give)
    suffixes = [suffix for found in answer.values() for suffix in found]
    assert len(suffixes) == len(set(suffixes))
    for e164, found in answer.items():
        assert all(begins(e164, groups[suffix]) for suffix in found)
    json.dumps(answer)
