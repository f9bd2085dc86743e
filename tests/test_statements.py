"""Statements of the hot paths, run by the driver's own cursor, behave as SQLAlchemy's own execution does."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Executable, bindparam, event, func, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from router.accounts.models import Project, ServerFact
from router.db import Database, insert_new, table_of
from router.scenarios.models import Scenario
from router.statements import Statement, given
from tests.counting import count_statements
from tests.factories import NOON, make_project

FACT = table_of(ServerFact)


@Statement
def remember(dialect: str) -> Executable:
    return insert(FACT).values({name: bindparam(name) for name in ("name", "value", "changed_at")})


@Statement
def facts(dialect: str) -> Executable:
    return select(FACT.c.name, FACT.c.changed_at).where(FACT.c.name == bindparam("wanted")).limit(5)


def fact(name: str = "a") -> dict[str, Any]:
    return {"name": name, "value": "1", "changed_at": NOON}


def test_rows_come_back_with_their_types(database: Database) -> None:
    with database.writing() as session:
        remember.run(session, fact())
        assert facts.all(session, {"wanted": "a"}) == [("a", NOON)]
        assert facts.first(session, {"wanted": "b"}) is None
    with database.reading() as session:
        row = facts.first(session, {"wanted": "a"})
    assert row is not None
    assert row.name == "a"
    assert row.changed_at.tzinfo is UTC


@dataclass(frozen=True, slots=True)
class Fact:
    name: str
    changed_at: datetime


def test_rows_come_back_as_the_class_whose_fields_are_the_columns(database: Database) -> None:
    columns = (FACT.c.name, FACT.c.changed_at)
    by_class = Statement(lambda _: select(*columns).where(FACT.c.name == bindparam("wanted")), Fact)
    with database.writing() as session:
        remember.run(session, fact())
        assert by_class.first(session, {"wanted": "a"}) == Fact("a", NOON)


def test_a_class_with_other_fields_than_the_columns_is_refused(database: Database) -> None:
    swapped = Statement(lambda _: select(FACT.c.changed_at, FACT.c.name), Fact)
    with database.reading() as session, pytest.raises(ValueError, match="other fields"):
        swapped.all(session, {})


def test_what_a_block_wrote_is_rolled_back_when_it_raises(database: Database) -> None:
    def fail() -> None:
        with database.writing() as session:
            remember.run(session, fact())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.reading() as session:
        assert facts.all(session, {"wanted": "a"}) == []


def test_objects_of_the_session_are_written_first(database: Database) -> None:
    with database.writing() as session:
        session.add(ServerFact(**fact("pending")))
        assert facts.all(session, {"wanted": "pending"}) == [("pending", NOON)]


def test_a_session_that_commits_goes_on_with_another_cursor(database: Database) -> None:
    with database.reading() as session:
        facts.all(session, {"wanted": "a"})
        session.rollback()
        assert facts.all(session, {"wanted": "a"}) == []


def test_errors_are_sqlalchemys_and_hide_their_parameters(database: Database) -> None:
    with database.writing() as session:
        remember.run(session, fact())
    with pytest.raises(IntegrityError) as caught, database.writing() as session:
        remember.run(session, fact() | {"value": "a secret"})
    assert isinstance(caught.value, DBAPIError)
    assert "a secret" not in str(caught.value)


def test_a_naive_moment_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="time zone"), database.writing() as session:
        remember.run(session, fact() | {"changed_at": datetime(2026, 1, 1)})  # noqa: DTZ001 - that is the point


def test_json_and_missing_values_keep_their_meaning(database: Database) -> None:
    projects = table_of(Project).c
    sites = Statement(lambda _: select(projects.site, projects.suspended_at).where(projects.key == bindparam("wanted")))
    with database.writing() as session:
        make_project(session, site=["shop.example", "*.shop.example"])
        assert sites.all(session, {"wanted": "k-shop"}) == [(["shop.example", "*.shop.example"], None)]


def test_columns_with_defaults_have_to_be_given(database: Database) -> None:
    scenarios = table_of(Scenario)
    forgetful = Statement(lambda _: insert(scenarios).values(title=bindparam("title")))
    with pytest.raises(ValueError, match="default"), database.writing() as session:
        forgetful.run(session, {"title": "Main line"})


def test_listeners_of_the_engine_hear_of_them(database: Database) -> None:
    heard: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *told: heard.append(told[2]))
    with database.writing() as session:
        rename = Statement(lambda _: update(FACT).where(FACT.c.name == bindparam("old")).values(value=bindparam("new")))
        rename.run(session, {"old": "a", "new": "b"})
    assert any("UPDATE server_fact" in one for one in heard)


@Statement
def remember_all(dialect: str) -> Executable:
    rows = given(dialect, {name: FACT.c[name].type for name in ("name", "value", "changed_at")})
    picked = select(rows["name"], rows["value"], rows["changed_at"])
    fresh = insert_new(dialect, FACT, unique=["name"]).from_select(["name", "value", "changed_at"], picked)
    return fresh.returning(FACT.c.name)  # type: ignore[no-any-return]  # the dialects' INSERT is not typed


@Statement
def latest_until(dialect: str) -> Executable:
    until = FACT.c.changed_at <= bindparam("at")
    return select(FACT.c.name).where(until, FACT.c.value == bindparam("value")).order_by(FACT.c.name.desc()).limit(2)


def test_many_values_are_answered_as_each_alone_is(database: Database) -> None:
    """On PostgreSQL by one statement."""
    asked = [{"at": NOON, "value": value} for value in ("1", "none", 'it\'s \\ "quoted"', "1")]
    with database.writing() as session:
        for name in "abc":
            remember.run(session, fact(name))
        remember.run(session, fact("d") | {"value": 'it\'s \\ "quoted"'})
        with count_statements(database) as statements:
            answers = latest_until.many(session, asked)
        assert answers == [latest_until.all(session, each) for each in asked]
        assert answers == [[("c",), ("b",)], [], [("d",)], [("c",), ("b",)]]
    assert len(statements) == (len(asked) if database.is_sqlite else 1)


@Statement
def beside_latest(dialect: str) -> Executable:
    """The names of a value, each with the newest moment of all facts until one: the values stand in a SELECT of FROM, and within it."""
    oldest = select(func.min(FACT.c.changed_at)).where(FACT.c.changed_at <= bindparam("at")).scalar_subquery()
    newest = (
        select(func.max(FACT.c.changed_at).label("at"))
        .where(FACT.c.changed_at <= bindparam("at"), FACT.c.changed_at >= oldest)
        .subquery("newest")
    )
    return select(FACT.c.name, newest.c.at).where(FACT.c.value == bindparam("value")).order_by(FACT.c.name)


def test_values_in_a_select_of_from_are_those_of_their_own_place(database: Database) -> None:
    moments = {name: NOON + timedelta(hours=hour) for hour, name in enumerate("abc")}
    asked = [{"at": moments[name], "value": value} for name in "cab" for value in ("1", "2")]
    with database.writing() as session:
        for name, at in moments.items():
            remember.run(session, fact(name) | {"changed_at": at, "value": "2" if name == "b" else "1"})
        with count_statements(database) as statements:
            answers = beside_latest.many(session, asked)
        assert answers == [beside_latest.all(session, each) for each in asked]
        assert answers[0] == [("a", moments["c"]), ("c", moments["c"])]
        assert answers[3] == [("b", moments["a"])]
    assert len(statements) == (len(asked) if database.is_sqlite else 1)


def test_values_in_a_with_are_refused_for_many_on_postgresql(database: Database) -> None:
    """They would be those of all places, joined."""
    until = select(func.max(FACT.c.changed_at).label("at")).where(FACT.c.changed_at <= bindparam("at")).cte("until")
    newest = Statement(select(FACT.c.name).join(until, FACT.c.changed_at == until.c.at))
    asked = [{"at": NOON}, {"at": NOON + timedelta(hours=1)}]
    with database.writing() as session:
        remember.run(session, fact())
        if database.is_sqlite:
            assert newest.many(session, asked) == [[("a",)], [("a",)]]
        else:
            with pytest.raises(DBAPIError, match="missing FROM-clause"):
                newest.many(session, asked)


def test_rows_are_written_together_and_those_that_were_there_stay(database: Database) -> None:
    with database.writing() as session:
        remember.run(session, fact("a"))
        with count_statements(database) as statements:
            new = remember_all.together(session, [fact("a") | {"value": "2"}, fact("b"), fact("c"), fact("b")])
        assert sorted(row.name for row in new) == ["b", "c"]
        assert remember_all.together(session, []) == []
        assert session.scalars(select(FACT.c.value).order_by(FACT.c.name)).all() == ["1", "1", "1"]
    assert len(statements) == (4 if database.is_sqlite else 1)


def test_what_is_too_long_for_its_column_is_refused_on_postgresql_not_cut(database: Database) -> None:
    if database.is_sqlite:
        return  # its columns have no length
    with database.writing() as session, pytest.raises(DBAPIError, match="too long"):
        remember_all.together(session, [fact("x" * 10_000)])
