"""R7, R12: what pages say while the database is away is kept among the calls, so that an outage changes no decision."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, update
from sqlalchemy.exc import OperationalError

from router.attribution.models import Lease, PoolNumber, Tap, Visit, VisitSpan
from router.attribution.tracking.hooks import make_limits
from router.attribution.tracking.refused import REFUSED
from router.db import LONG_AGO, Database
from router.server import Server
from router.voice import applier as module
from router.voice.applier import journal_folder
from router.voice.blocking.open_calls import OpenCalls
from router.voice.first_answers import FirstAnswers
from router.voice.following import routing_of
from router.voice.journal import Journal, Position, read_entries
from router.voice.models import Call, CallEvent, JournalPosition, SetAsideRecord, UnknownCall
from tests.factories import NOON
from tests.properties import examples
from tests.voice.carrier import CarrierClient
from tests.voice.journals import NUMBER, SITE, NoDisk, applier, calls, count, visit

GOOGLE, MAIL = "utm_source=google&utm_medium=cpc", "utm_source=mail&utm_medium=email"


@contextmanager
def away() -> Iterator[None]:
    """The database takes nothing."""

    def refuse(*_: Any) -> Any:
        raise OperationalError("", {}, Exception("gone"))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Database, "writing", refuse)
        yield


def says(client: FlaskClient, token: str, sign: str = "alive", **body: Any) -> int:
    return client.post(f"/tag/k-shop/visits/{token}/{sign}", json=body, headers=SITE).status_code


def kept(server: Server) -> list[Mapping[str, Any]]:
    entries = read_entries(journal_folder(server), Position(), 100)
    return [entry.record for entry in entries if entry.record and entry.record["kind"] == REFUSED]


def decided(call: Call) -> tuple[Any, ...]:
    """Without the ids of the visits, which are others in each world."""
    candidates = [
        tuple(candidate[name] for name in ("probability", "state", "silent_seconds", "left", "tapped_seconds"))
        for candidate in call.candidates
    ]
    decision = call.rule, call.source, call.confidence, call.source_confidence
    return call.sid, call.started_at, call.kind, *decision, candidates


def test_r7_a_page_that_is_open_throughout_an_outage_counts_as_open(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any
) -> None:
    given_visit = visit(client, GOOGLE)
    with away():
        for _ in range(26):
            clock.shift(45)
            assert says(client, given_visit["token"]) == 503
        carrier.dial(NUMBER, sid="CA1")
    applier(shop).apply_all()
    call = calls(shop)["CA1"]
    assert [(candidate["state"], candidate["visit"]) for candidate in call.candidates] == [
        ("open", given_visit["visit"])
    ]
    with shop.database.reading() as session:
        known = session.scalars(select(Visit)).one()
        assert (known.span_started_at, known.last_sign_at) == (NOON, NOON + timedelta(seconds=26 * 45))
    assert count(shop, VisitSpan) == 0
    assert says(client, given_visit["token"]) == 204


def test_r7_a_page_that_was_left_during_an_outage_counts_as_left(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any
) -> None:
    given_visit = visit(client, GOOGLE)
    with away():
        clock.shift(45)
        says(client, given_visit["token"], "left")
        clock.shift(30)
        carrier.dial(NUMBER, sid="CA1")
    applier(shop).apply_all()
    [candidate] = calls(shop)["CA1"].candidates
    assert (candidate["state"], candidate["left"], candidate["silent_seconds"]) == ("hold", True, 30)


def test_r7_a_tap_that_was_refused_counts_at_its_time(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any
) -> None:
    given_visit = visit(client, GOOGLE)
    with away():
        clock.shift(45)
        says(client, given_visit["token"], "tap", e164=NUMBER)
        clock.shift(5)
        carrier.dial(NUMBER, sid="CA1")
    clock.shift(timedelta(minutes=20))
    applier(shop).apply_all()
    [candidate] = calls(shop)["CA1"].candidates
    assert (candidate["state"], candidate["tapped_seconds"]) == ("open", 5)


def test_r7_a_page_view_that_was_refused_keeps_its_visit_open_unless_it_would_have_begun_another(
    shop: Server, client: FlaskClient, clock: Any
) -> None:
    given_visit = visit(client, GOOGLE)

    def view(page: str, origin: str = "https://shop.example") -> None:
        clock.shift(30)
        body = {"page": f"https://shop.example/{page}", "visitor": given_visit["visitor"]}
        client.post("/tag/k-shop/visits", json=body, headers=SITE | {"Origin": origin})

    def last_sign() -> float:
        applier(shop).apply_all()
        with shop.database.reading() as session:
            return (session.scalars(select(Visit)).one().last_sign_at - NOON).total_seconds()

    with away():
        view("prices")
    assert last_sign() == 30
    with away():
        view(f"?{MAIL}")
        view("prices", origin="https://stranger.example")
    assert last_sign() == 30
    with away():
        clock.shift(3600)
        view("prices")
    assert last_sign() == 30, "the visit's gap is over"


def test_r7_only_what_is_ours_is_kept_and_only_while_the_disk_has_room(
    shop: Server, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_visit = visit(client, GOOGLE)
    token = given_visit["token"]
    with away():
        assert says(client, token[:-1] + ("A" if token[-1] != "A" else "B")) == 503
        assert client.post(f"/tag/k-nobody/visits/{token}/alive", json={}, headers=SITE).status_code == 503
        body = {"page": "https://shop.example/", "visitor": "x" * 28}
        assert client.post("/tag/k-shop/visits", json=body, headers=SITE).status_code == 503
        assert kept(shop) == []
        with monkeypatch.context() as patched:
            patched.setattr(module, "LEAST_FREE", 1 << 60)
            assert says(client, token) == 503
        assert kept(shop) == []
        journal, shop.journal = shop.journal, NoDisk()
        assert says(client, token) == 503
        shop.journal = journal
        assert says(client, token, "tap", e164="nonsense") == 503
        assert says(client, token, "tap", e164=NUMBER) == 503
    assert [record.get("tap") for record in kept(shop)] == [None, NUMBER]


def test_r7_what_is_told_of_a_visit_that_is_gone_is_done_with(shop: Server, client: FlaskClient) -> None:
    token = visit(client, GOOGLE)["token"]
    with away():
        says(client, token)
    with shop.database.writing() as session:
        session.execute(delete(Visit))
    applier(shop).apply_all()
    assert count(shop, SetAsideRecord) == 0


def test_r7_a_call_that_another_machine_told_first_is_decided_again_and_told(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any, tmp_path: Path
) -> None:
    of_web = Journal(tmp_path / "web", 2**20, durable=False)
    shop.keep_refused = lambda server, record: of_web.append(record)
    token = visit(client, GOOGLE)["token"]
    with away():
        clock.shift(70)
        says(client, token)
        clock.shift(70)
        carrier.dial(NUMBER, sid="CA1")
        carrier.dial(NUMBER, "anonymous", sid="CA2")
    applier(shop).apply_all()
    assert {call.candidates[0]["state"] for call in calls(shop).values()} == {"hold"}
    applier(shop, tmp_path / "web").apply_all()
    assert {call.candidates[0]["state"] for call in calls(shop).values()} == {"open"}


PAGE = st.tuples(
    st.lists(st.tuples(st.integers(5, 120), st.sampled_from(["alive", "alive", "alive", "tap", "view"])), max_size=7),
    st.one_of(st.none(), st.integers(5, 120)),
)
"""What a page says, and when; it may be left in the end. It never is silent for as long as its hold, of which 20 s are over before the
first of these: its leases stay as they are."""
CALLS = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 160), st.sampled_from(["+14155550170", "+14155550171", "anonymous"])),
    min_size=1,
    max_size=5,
)
"""After which of the signs, how long after it, and who calls."""


def emptied(server: Server) -> None:
    with server.database.writing() as session:
        for table in (Call, CallEvent, UnknownCall, JournalPosition, Tap, Lease, VisitSpan, Visit):
            session.execute(delete(table))
        unused = {"turn": 0, "group_turn": 0, "visitor": "", "source_key": 0}
        session.execute(update(PoolNumber).values(**unused, lease_started_at=LONG_AGO, last_sign_at=LONG_AGO))
    make_limits(server)


OUTAGES = st.tuples(
    st.one_of(st.integers(22, 90), st.integers(22, 500)), st.one_of(st.integers(1, 200), st.integers(200, 900))
)
"""When the database goes away, and for how long."""
TAPS_OF_TWO_CALLS = (
    ([(5, "alive"), (5, "alive"), (5, "alive"), (115, "tap"), (5, "alive"), (5, "alive"), (43, "tap")], None),
    ([(107, "alive")], None),
)


@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pages=st.tuples(PAGE, PAGE),
    dialled=CALLS,
    outage=OUTAGES,
    at_once=st.booleans(),
    order=st.sampled_from([[0, 1], [0, 1], [1, 0]]),
)
@example(
    pages=TAPS_OF_TWO_CALLS,
    dialled=[(0, 127, "+14155550171"), (7, 106, "+14155550170")],
    outage=(22, 200),
    at_once=False,
    order=[0, 1],
)
def test_r12_an_outage_changes_no_decision_whenever_and_in_whichever_order_journals_are_applied(
    shop: Server,
    carrier: CarrierClient,
    client: FlaskClient,
    clock: Any,
    tmp_path_factory: pytest.TempPathFactory,
    pages: Any,
    dialled: Any,
    outage: tuple[int, int],
    at_once: bool,
    order: Sequence[int],
) -> None:
    """`at_once`: the journals are applied as soon as the database is back."""
    script: list[tuple[float, str, Any]] = []
    for index, (said, leaves_after) in enumerate(pages):
        at = 20.0 + index
        for gap, sign in said:
            at += gap
            script.append((at, sign, index))
        if leaves_after is not None:
            script.append((at + leaves_after, "left", index))
    signs = script or [(60.0, "", 0)]
    script = script + [(signs[sign % len(signs)][0] + after + 0.5, "call", who) for sign, after, who in dialled]
    script.sort(key=lambda event: event[0])
    begins, ends = outage[0], sum(outage)

    def world(is_away: bool, at_once: bool, folders: Sequence[Path], order: Sequence[int]) -> list[Any]:
        emptied(shop)
        clock.move_to(NOON)
        of_calls, of_pages = (Journal(folder, 2**20, durable=False) for folder in folders)
        shop.journal, shop.keep_refused = of_calls, lambda server, record: of_pages.append(record)
        # no call is open from another world, or known
        routing_of(shop).open_calls = OpenCalls(folders[0] / "open-calls")
        shop.first_answers = FirstAnswers(folders[0] / "first-answers")
        routing_of(shop).refresh()
        appliers = [applier(shop, folder) for folder in folders]

        def apply() -> None:
            for each in order:
                appliers[each].apply_all()

        visits = [visit(client, GOOGLE), visit(client, MAIL)]
        for place, (at, what, who) in enumerate(script):
            clock.move_to(NOON + timedelta(seconds=at))
            lost = is_away and begins <= at < ends
            with away() if lost else pytest.MonkeyPatch.context():
                if what == "call":
                    carrier.dial(NUMBER, who, sid=f"CA{place}")
                elif what == "view":
                    body = {"page": "https://shop.example/more", "visitor": visits[who]["visitor"]}
                    client.post("/tag/k-shop/visits", json=body, headers=SITE)
                else:
                    told = {"e164": NUMBER} if what == "tap" else {}
                    says(client, visits[who]["token"], what, **told)
            if not lost and at_once:
                apply()
        apply()
        until = NOON + timedelta(seconds=ends)  # after it pages are leased their numbers anew: nobody could renew them
        return sorted((decided(call) for call in calls(shop).values() if call.started_at < until), key=itemgetter(0))

    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    truth = world(False, True, (one, one), [0])
    assert len(truth) == sum(what == "call" and at < ends for at, what, _ in script)
    folder = tmp_path_factory.mktemp("machine")
    assert world(True, at_once, (folder, folder), [0]) == truth, "one machine"
    other = tmp_path_factory.mktemp("other")
    assert world(True, at_once, (two, other), order) == truth, "two machines"
