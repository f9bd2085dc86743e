"""R5 and R4 when the process is killed at every step of a purchase and of a renewal, against a carrier that is late, dead or lying: no
number is bought twice, none is lost, nothing is charged twice."""

import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from router.accounts.audit import Change
from router.accounts.models import LedgerEntry, Project
from router.config import Settings
from router.db import Database
from router.lib.crypto import KeyRing
from router.scenarios.models import NumberBatch, NumberOrder, TrackingNumber
from router.scenarios.numbers.purchase import order_numbers
from router.server import Server
from tests.carriers.rest import Carrier, running_carrier
from tests.carriers.rest_faults import Fault
from tests.factories import NOON, make_ledger_entry, make_project, make_rented_number
from tests.faults.mortal import Life, Nursery
from tests.scenarios.names import ALICE, WEEK, balance_of
from tests.secret import SECRET

ONE, TWO = "+12125550190", "+12125550191"
PRICE = 150
LATER = tuple(float(seconds) for seconds in range(125, 3000, 130))
"""When other workers look: after the claims of a dead one have ended."""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def carrier(tmp_path: Path) -> Iterator[Carrier]:
    with running_carrier(tmp_path / "carrier") as carrier:
        yield carrier


@dataclass
class World:
    """A project with money, and the lives of its workers."""

    server: Server
    carrier: Carrier
    nursery: Nursery
    project: Project
    life: Life

    def order(self, *e164s: str) -> None:
        with self.server.database.writing() as session:
            order_numbers(Change(session, self.server, self.project, ALICE, NOON), e164s)

    def settle(self) -> None:
        """A fresh worker, until nothing is open."""
        assert self.nursery.live(replace(self.life, moments=LATER)) == 0

    def check(self, *e164s: str) -> None:
        """Bought once, rented here, paid once; the ledger's sum is the balance."""
        assert self.carrier.bought() == dict.fromkeys(e164s, 1)
        with self.server.database.reading() as session:
            here = session.scalars(select(TrackingNumber).where(TrackingNumber.released_at.is_(None))).all()
            assert {one.e164: one.carrier_sid for one in here} == {
                owned.e164: owned.sid for owned in self.carrier.shop.owned()
            }
            assert sorted(one.e164 for one in here) == sorted(e164s)
            assert set(session.scalars(select(NumberOrder.state))) == {"bought"}
            assert session.scalars(select(NumberBatch.finished_at)).all() != [None]
            charges = session.scalars(select(LedgerEntry.number).where(LedgerEntry.reason.startswith("rent:"))).all()
            assert sorted(charges) == sorted(e164s)
            assert balance_of(session, self.project) == 10_000 - PRICE * len(e164s)


@pytest.fixture
def world(database: Database, settings: Settings, carrier: Carrier, nursery: Nursery, tmp_path: Path) -> World:
    server = Server(settings, database, KeyRing((SECRET,)))
    with database.writing() as session:
        project = make_project(session, number_price_minor=PRICE)
        make_ledger_entry(session, project, 10_000)
    life = Life(database.url, str(tmp_path / "data"), carrier.url, carrier.token, NOON.isoformat())
    return World(server, carrier, nursery, project, life)


@pytest.mark.parametrize("when", ["before it is done", "done and not answered", "answered"])
@pytest.mark.parametrize(("database_kind", "kind"), [("sqlite", "buy"), ("postgresql", "buy"), ("sqlite", "list")])
def test_r5_killed_while_the_carrier_is_asked(world: World, kind: str, when: str) -> None:
    """`list` is the look after a question that was not answered."""
    killed = threading.Event()

    def on_request(*_: object) -> Fault | None:
        if killed.is_set():
            return None
        killed.set()
        if when == "before it is done":
            world.nursery.kill()
            return Fault.dead(done=False)
        world.nursery.kill_in(0.05 if when == "answered" else 0.3)
        return Fault.late(60.0) if when == "done and not answered" else None

    if kind == "list":
        world.carrier.faults.queue("buy", Fault.dead(done=True))
    world.carrier.faults.choose(kind, on_request)
    world.order(ONE, TWO)
    ended = world.nursery.live(world.life)
    assert ended == -signal.SIGKILL or when == "answered"
    world.settle()
    world.check(ONE, TWO)


@pytest.mark.parametrize(
    ("database_kind", "dies_at"),
    [*(("sqlite", commit) for commit in range(1, 6)), ("postgresql", 2), ("postgresql", 4)],
)
def test_r5_killed_at_every_commit_of_a_purchase(world: World, dies_at: int) -> None:
    """Claiming, marking as asked (each order for itself), the number's arrival (each)."""
    world.order(ONE, TWO)
    assert world.nursery.live(replace(world.life, dies_at=dies_at)) == -signal.SIGKILL
    world.settle()
    world.check(ONE, TWO)


WAYS = [
    Fault.late(1.0),
    Fault.late(1.0, done=False),
    Fault.dead(done=True),
    Fault.dead(done=False),
    Fault.too_many("1"),
    Fault.broken(done=True),
    Fault.broken(done=False, status=503),
    Fault.html(done=True),
    Fault.cut(),
    Fault.says_taken(done=True),
]
LOOKS = [Fault.dead(done=True), Fault.too_many(), Fault.broken(done=True), Fault.html(done=True), Fault.cut()]


@pytest.mark.parametrize("seed", [1])
def test_r5_killed_again_and_again_while_the_carrier_misbehaves(world: World, seed: int) -> None:
    chance = random.Random(seed)

    def misbehave(kind: str, values: Mapping[str, str]) -> Fault | None:
        if chance.random() < 0.3:
            world.nursery.kill_in(chance.random() * 0.1)
        return chance.choice((WAYS if kind == "buy" else LOOKS) + [None] * 4)  # type: ignore[list-item]  # None stands for no fault

    for kind in ("buy", "list"):
        world.carrier.faults.choose(kind, misbehave)
    world.order(ONE, TWO)
    hasty = replace(world.life, patience=0.4)  # and nothing has to go well for it
    for generation in range(4):
        world.nursery.live(replace(hasty, moments=(generation * 125.0, generation * 125.0 + 3)))
    world.carrier.faults.clear()
    assert world.nursery.live(replace(world.life, moments=tuple(900.0 + moment for moment in LATER))) == 0
    world.check(ONE, TWO)


@pytest.mark.parametrize(
    ("database_kind", "dies_at"),
    [*(("sqlite", commit) for commit in range(1, 7)), ("postgresql", 2), ("postgresql", 5)],
)
def test_r4_killed_at_every_commit_of_a_renewal(world: World, dies_at: int) -> None:
    e164s = [f"+1212555019{digit}" for digit in range(4)]
    with world.server.database.writing() as session:
        for e164 in e164s:
            make_rented_number(session, world.project, e164, NOON)
    late = (NOON + 2 * WEEK + timedelta(hours=1)).isoformat()
    life = replace(world.life, do="renew", start=late)
    assert world.nursery.live(replace(life, dies_at=dies_at)) == -signal.SIGKILL
    assert world.nursery.live(life) == 0
    with world.server.database.reading() as session:
        numbers = session.scalars(select(TrackingNumber)).all()
        assert {one.paid_until for one in numbers} == {NOON + 3 * WEEK}
        reasons = Counter(session.scalars(select(LedgerEntry.reason).where(LedgerEntry.reason.startswith("rent:"))))
        assert reasons == Counter(f"rent:{e164}:{(NOON + n * WEEK).isoformat()}" for e164 in e164s for n in range(3))
        assert balance_of(session, world.project) == 10_000 - 12 * PRICE


@pytest.mark.parametrize("when", ["before it is done", "done and not answered"])
def test_r5_killed_while_a_number_is_given_back(world: World, when: str) -> None:
    with world.server.database.writing() as session:
        number = make_rented_number(session, world.project, ONE, NOON + WEEK)
        number.carrier_sid = world.carrier.shop.buy(ONE, "ct:1").sid
        number.releasing_at = number.carrier_next_at = NOON

    def on_request(*_: object) -> Fault:
        world.carrier.faults.choose("release", None)
        world.nursery.kill()
        return Fault.dead(done=when != "before it is done")

    world.carrier.faults.choose("release", on_request)
    assert world.nursery.live(replace(world.life, do="release")) == -signal.SIGKILL
    assert world.nursery.live(replace(world.life, do="release", moments=LATER)) == 0
    assert not world.carrier.shop.owned()
    with world.server.database.reading() as session:
        assert session.scalars(select(TrackingNumber.released_at)).one() is not None
