"""The site's own fields of a visit: what pages tell is cut to size, merged, and written only when it is news."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from router.attribution.models import Visit
from router.attribution.tracking.schema import MOST_FIELDS, read_params
from router.attribution.tracking.visits import find_visit, keep_params, merged
from router.db import Database
from router.server import Server
from tests.attribution.asking import sign, view
from tests.counting import count_statements
from tests.factories import make_project, make_scenario
from tests.properties import examples


@pytest.fixture
def shop(server: Server) -> Server:
    with server.database.writing() as session:
        make_scenario(session, make_project(session), 3)
    return server


def kept(database: Database) -> dict[str, Any]:
    with database.reading() as session:
        return session.scalars(select(Visit.params)).one()


@pytest.mark.parametrize(
    ("value", "text"),
    [("a", "a"), ("", ""), (7, "7"), (-1.5, "-1.5"), (True, "true"), (False, "false"), ("x" * 999, "x" * 200), (10**500, "1" + "0" * 199)],
)  # fmt: skip
def test_a_field_is_a_text_of_200_characters_at_most(value: Any, text: str) -> None:
    assert read_params({"params": {"roistat_param1": value}}) == {"roistat_param1": text}


@pytest.mark.parametrize("junk", [None, [], {}, [1], {"a": "b"}, float("inf")])
def test_what_is_no_text_is_dropped_and_the_rest_stays(junk: Any) -> None:
    names = {"": "x", "a b": "x", "a" * 41: "x", "é": "x", "a\n": "x", "ok": "y"}
    assert read_params({"params": {"junk": junk} | names}) == {"ok": "y"}


JUNK = st.none() | st.text() | st.floats() | st.integers() | st.just([{}])


@settings(max_examples=examples(30))
@given(st.dictionaries(st.text(), JUNK, max_size=5))
def test_no_page_can_tell_too_much(told: dict[str, Any]) -> None:
    many = {f"n{index}": "x" for index in range(30)}
    for posted in (told, told | many):
        found = read_params({"params": posted})
        assert len(found) <= MOST_FIELDS
        assert all(len(name) <= 40 and len(text) <= 200 for name, text in found.items())


FIELDS = st.dictionaries(st.integers(0, 40).map(str), st.sampled_from("ab"), max_size=20)


@settings(max_examples=examples(30))
@given(st.lists(FIELDS, max_size=5))
def test_of_one_name_the_later_text_stands_and_a_visit_never_has_more_fields_than_a_page(pages: list[Any]) -> None:
    fields: dict[str, str] = {}
    for told in pages:
        before, fields = fields, merged(fields, told)
        assert set(before) <= set(fields)
        assert len(fields) <= MOST_FIELDS
        assert all(fields[name] == told.get(name, before.get(name)) for name in fields)
    assert merged(fields, fields) == fields


def test_fields_of_page_views_and_of_signs_of_life_come_together_on_the_visit(
    shop: Server, client: FlaskClient
) -> None:
    first = view(client, params={"plan": "basic", "roistat_param1": "a"}, consent="limited").get_json()
    assert kept(shop.database) == {"plan": "basic", "roistat_param1": "a"}
    view(client, "https://shop.example/b", visitor=first["visitor"], params={"plan": "gold"})
    assert sign(client, first["token"], params={"__proto__": "x", "order": 7}).status_code == 204
    assert kept(shop.database) == {"plan": "gold", "roistat_param1": "a", "__proto__": "x", "order": "7"}
    for answer in (sign(client, first["token"], params=[]), view(client, params="x")):
        assert (answer.status_code, answer.get_json()["field"]) == (422, "params")


def test_fields_that_are_known_take_no_statement_and_new_ones_two(shop: Server, client: FlaskClient) -> None:
    token = view(client, params={"plan": "basic"}).get_json()["token"]
    costs = []
    for params in (None, {"plan": "basic"}, {"plan": "gold"}):
        with count_statements(shop.database) as heard:
            sign(client, token, params=params)
        costs.append(len(heard))
    assert [cost - costs[0] for cost in costs] == [0, 0, 2]


def test_pages_that_tell_at_the_same_time_lose_no_field(shop: Server, client: FlaskClient) -> None:
    view(client)
    with shop.database.reading() as session:
        visit = session.scalars(select(Visit)).one()
        stale = find_visit(session, visit.project_id, visit.id)
    assert stale
    for params in ({"a": "1"}, {"b": "2"}):
        with shop.database.writing() as session:
            keep_params(session, stale, params)
    assert kept(shop.database) == {"a": "1", "b": "2"}
