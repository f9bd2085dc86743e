"""Whole calls, from the simulated carrier over HTTP into the real application: in order, late, twice and in disorder."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from flask import Flask
from sqlalchemy import select

from router.accounts.models import Project
from router.carriers.simulator import AFTER_HANG_UP, CallerScript, Chance, Faults, Line, Simulator, VirtualClock
from router.config import Settings
from router.db import Database
from router.voice.calls import call_answered, call_ended
from router.voice.models import Call, CallEvent
from tests.application import Applications
from tests.factories import COMPANY_LINE, NOON, NUMBER, SECOND_LINE
from tests.properties import by_turns

ANNA = "+14155550177"

FAULTS = {
    "in order": Faults(),
    "in disorder": Faults(disorder=True),
    "late, twice and in disorder": Faults(late=3.0, twice=True, disorder=True),
    "without asking what comes after a caller hung up": Faults(after_hang_up=AFTER_HANG_UP["unasked"]),
    "in parallel, late and doubled": Faults(
        parallel=True, plan=Chance(1, doubled=0.5, late=0.5), after_hang_up=AFTER_HANG_UP["completed"]
    ),
    "without any callback": Faults(parallel=True, plan=Chance(1, lost=1.0)),
}

CALLS = {
    "the first answers": ({COMPANY_LINE: Line.answers(4, 60)}, CallerScript(), ("answered", 60, COMPANY_LINE)),
    "the second answers": (
        {COMPANY_LINE: Line.is_busy(), SECOND_LINE: Line.answers(6, 30)},
        CallerScript(),
        ("answered", 30, SECOND_LINE),
    ),
    "nobody answers": (
        {COMPANY_LINE: Line.rings_out(), SECOND_LINE: Line.rings_out()},
        CallerScript(),
        ("missed", 0, SECOND_LINE),
    ),
    "both are busy": (
        {COMPANY_LINE: Line.is_busy(), SECOND_LINE: Line.is_busy()},
        CallerScript(),
        ("busy", 0, SECOND_LINE),
    ),
    "the caller gives up": (
        {COMPANY_LINE: Line.rings_out()},
        CallerScript(gives_up_after=9),
        ("abandoned", 0, COMPANY_LINE),
    ),
    "the caller hangs up first": (
        {COMPANY_LINE: Line.answers(4, None)},
        CallerScript(talks=45),
        ("answered", 45, COMPANY_LINE),
    ),
}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOON)


@pytest.fixture
def served(
    shop_with_two_lines: int, settings: Settings, applications: Applications, clock: VirtualClock
) -> Iterator[Flask]:
    """The application on a free port, with the carrier's clock as its own."""
    with applications.on_a_port(settings) as (_, app):
        app.extensions["router"].now = clock.now
        yield app


@pytest.mark.parametrize(("database_kind", "kind", "way"), by_turns(CALLS, FAULTS))
def test_a_call_ends_once_and_as_what_it_was(
    served: Flask, settings: Settings, database: Database, clock: VirtualClock, kind: str, way: str
) -> None:
    lines, script, expected = CALLS[kind]
    ended: list[datetime] = []
    answered: list[datetime] = []

    def hear(sender: object, **_: object) -> None:
        ended.append(clock.now())

    def hear_answer(sender: object, **_: object) -> None:
        answered.append(clock.now())

    call_ended.connect(hear)
    call_answered.connect(hear_answer)
    base_url = served.extensions["router"].settings.base_url
    carrier = Simulator(base_url, settings.twilio_auth_token, clock=clock, lines=lines, faults=FAULTS[way])
    try:
        played = carrier.call(ANNA, NUMBER, script)
    finally:
        carrier.close()
    with database.reading() as session:
        call = session.scalars(select(Call)).one()
        keys = list(session.scalars(select(CallEvent.key)))
    assert call.sid == played.sid
    assert (call.status, call.talk_seconds, call.destination) == expected
    assert call.ended_at is not None
    assert len(ended) == 1
    assert len(answered) == (call.status == "answered")
    assert all(at <= ended[0] for at in answered)
    assert len(keys) == len(set(keys))
    assert call.fan_out_due == ""


COLLEAGUE = "+14155550144"
TEST_CALLS = {
    "a colleague": (COLLEAGUE, CallerScript(), "You are put through now.", ("answered", 60, COMPANY_LINE)),
    "a destination": (COMPANY_LINE, CallerScript(), "the others ring now.", ("answered", 30, SECOND_LINE)),
    "a colleague who hangs up while it is said": (
        COLLEAGUE,
        CallerScript(gives_up_after=3),
        "You are put through now.",
        ("abandoned", 0, COMPANY_LINE),
    ),
}


@pytest.mark.parametrize(
    ("database_kind", "kind", "way"), by_turns(TEST_CALLS, [way for way in FAULTS if way != "without any callback"])
)
def test_r10_a_test_call_is_told_once_and_put_through(
    shop_with_two_lines: int,
    served: Flask,
    settings: Settings,
    database: Database,
    clock: VirtualClock,
    kind: str,
    way: str,
) -> None:
    caller, script, words, expected = TEST_CALLS[kind]
    lines = {COMPANY_LINE: Line.answers(4, 60), SECOND_LINE: Line.answers(6, 30)}
    with database.writing() as session:
        project = session.get_one(Project, shop_with_two_lines)
        project.own_numbers = [{"number": COLLEAGUE, "remark": ""}]
    base_url = served.extensions["router"].settings.base_url
    carrier = Simulator(base_url, settings.twilio_auth_token, clock=clock, lines=lines, faults=FAULTS[way])
    try:
        played = carrier.call(caller, NUMBER, script)
    finally:
        carrier.close()
    assert played.errors == []
    assert [said.rpartition(words)[2] for said in played.heard] == [""]
    with database.reading() as session:
        call = session.scalars(select(Call)).one()
    assert (call.kind, call.status, call.talk_seconds, call.destination) == ("internal", *expected)
    assert call.ended_at is not None
