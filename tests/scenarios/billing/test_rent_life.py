"""R4 and R5 over any sequence of buying, renewing, refusing, giving back and crashing, against a carrier that errs at random: the
ledger's sum is the balance, paid time has no overlap and no gap outside grace, and in the end the carrier has for us what we have."""

import itertools
import shutil
import tempfile
from collections import defaultdict
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import event, select

from router.accounts.audit import Change
from router.accounts.ledger import BalanceTooLow
from router.accounts.models import LedgerEntry, Project
from router.carriers.base import Gone, NotForUs, OutcomeUnknown, TryLater
from router.config import Settings
from router.db import Database
from router.lib.crypto import KeyRing
from router.scenarios.billing.rent import renew_due
from router.scenarios.models import OPEN_STATES, NumberOrder, TrackingNumber
from router.scenarios.numbers import purchase, release
from router.scenarios.numbers.purchase import advance_due, order_numbers
from router.scenarios.numbers.release import advance_releases, begin_release
from router.server import Server
from router.web.errors import Problem
from tests.factories import NOON, make_ledger_entry, make_project
from tests.properties import examples
from tests.scenarios.names import ALICE, WEEK, balance_of
from tests.scenarios.shop import FakeShop
from tests.secret import SECRET

STOCK = [f"+1212555019{digit}" for digit in range(6)]
PRICE = 150


class Crash(BaseException):
    """The process ends here."""


ANSWERS = {
    "dies": Crash(),
    "unknown": OutcomeUnknown("No answer."),
    "later": TryLater("Too many requests."),
    "refused": NotForUs("The account may not."),
    "gone": Gone("Not for sale."),
}


DEATHS = st.none() | st.integers(min_value=0, max_value=4)


class RentLife(RuleBasedStateMachine):
    """Time only goes on; every process that crashes is followed by another one."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="router-rent-"))
        shutil.copy(self.template, self.folder / "router.db")
        self.database = Database(f"sqlite:///{self.folder}/router.db", pool_size=2)
        self.server = Server(Settings(data_dir=self.folder, secret_key=SECRET), self.database, KeyRing((SECRET,)))
        self.shop = self.server.shop = FakeShop(list(STOCK))
        self.now = NOON
        self.reasons = itertools.count()
        self.commits_left: int | None = None
        event.listen(self.database.engine, "commit", self._maybe_die)
        with self.database.writing() as session:
            self.project = make_project(session, number_price_minor=PRICE)
            make_ledger_entry(session, self.project, 10 * PRICE, "start")

    def teardown(self) -> None:
        self.settle()
        self.database.dispose()
        shutil.rmtree(self.folder)

    def _maybe_die(self, _: object) -> None:
        if self.commits_left is not None:
            self.commits_left -= 1
            if self.commits_left < 0:
                self.commits_left = None
                raise Crash

    def attempt(self, dies: int | None, do: object, *arguments: object) -> None:
        """A worker's turn, which may end before the commit after so many."""
        self.commits_left = dies
        try:
            do(*arguments)  # type: ignore[operator]  # an action by its name
        except Crash:
            pass
        finally:
            self.commits_left = None

    @rule(amount=st.sampled_from([PRICE // 2, PRICE, 4 * PRICE, 20 * PRICE]))
    def money_comes(self, amount: int) -> None:
        with self.database.writing() as session:
            make_ledger_entry(session, self.project, amount, f"top-up:{next(self.reasons)}")

    @rule(which=st.sets(st.sampled_from(STOCK), min_size=1, max_size=3), again=st.booleans())
    def buy(self, which: set[str], again: bool) -> None:
        search = {"country": "US", "area_code": "212", "contains": ""} if again else None
        try:
            with self.database.writing() as session:
                order_numbers(Change(session, self.server, self.project, ALICE, self.now), sorted(which), search=search)
        except (BalanceTooLow, Problem):
            pass

    @rule(
        request=st.sampled_from(["buy", "buy", "buy", "find", "search", "release"]),
        answer=st.sampled_from(["unknown", "unknown", *sorted(ANSWERS)]),
        done=st.booleans(),
    )
    def carrier_errs(self, request: str, answer: str, done: bool) -> None:
        if answer == "gone" and request != "buy":
            return
        if answer == "refused" and request == "find":
            return
        self.shop.fail(request, ANSWERS[answer], done=done and request in ("buy", "release"))

    @rule(dies=DEATHS)
    def worker_buys(self, dies: int | None) -> None:
        self.attempt(dies, self._one_by_one)

    def _one_by_one(self) -> None:
        while advance_due(self.server, self.now):
            pass

    @rule(dies=DEATHS)
    def worker_renews(self, dies: int | None) -> None:
        self.attempt(dies, renew_due, self.server, self.now)

    @rule(dies=DEATHS)
    def worker_gives_back(self, dies: int | None) -> None:
        self.attempt(dies, advance_releases, self.server, self.now)

    @rule(seconds=st.sampled_from([1, 30, 130, 3600, 86400, 3 * 86400]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @precondition(lambda self: self.rented())
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        e164 = data.draw(st.sampled_from(sorted(self.rented())))
        with self.database.writing() as session:
            here = select(TrackingNumber).where(TrackingNumber.e164 == e164, TrackingNumber.released_at.is_(None))
            begin_release(Change(session, self.server, self.project, ALICE, self.now), session.scalars(here).one())

    def rented(self) -> set[str]:
        with self.database.reading() as session:
            return set(session.scalars(select(TrackingNumber.e164).where(TrackingNumber.released_at.is_(None))))

    @invariant()
    def the_ledgers_sum_is_the_balance_and_never_below_zero(self) -> None:
        with self.database.reading() as session:
            assert balance_of(session, self.project) >= 0

    @invariant()
    def paid_time_has_no_overlap_and_no_gap_outside_grace(self) -> None:
        """Each number is paid from when it was charged, week by week, up to where its row says; nothing else is charged. One that was
        given back and bought anew was so before as well, up to any week."""
        with self.database.reading() as session:
            numbers = session.scalars(select(TrackingNumber)).all()
            reasons = set(session.scalars(select(LedgerEntry.reason)))
            bought = session.scalars(select(NumberOrder).where(NumberOrder.state == "bought")).all()
            waiting = session.scalars(select(NumberOrder).where(NumberOrder.state.in_(OPEN_STATES))).all()
        charged: dict[str, set[datetime]] = defaultdict(set)
        for reason in reasons:
            kind, _, rest = reason.partition(":")
            if kind == "rent" and f"refund:{reason}" not in reasons:
                e164, _, start = rest.partition(":")
                charged[e164].add(datetime.fromisoformat(start))
        starts = {order.number_id: order.charged_from for order in sorted(bought, key=lambda one: one.charged_from)}
        for order in bought:
            week = order.charged_from
            while week != starts[order.number_id] and week in charged[order.e164]:
                charged[order.e164].remove(week)
                week += WEEK
        for number in numbers:
            assert number.paid_until
            week = starts[number.id]
            while week < number.paid_until:
                charged[number.e164].remove(week)
                week += WEEK
            assert week == number.paid_until
        for order in waiting:
            charged[order.e164].remove(order.charged_from)
        assert not any(charged.values()), "paid for what nobody has"

    def unsettled(self) -> bool:
        """An order is open, or a number is being given back."""
        giving_back = TrackingNumber.releasing_at.is_not(None), TrackingNumber.released_at.is_(None)
        open_orders = select(NumberOrder.id).where(NumberOrder.state.in_(OPEN_STATES))
        with self.database.reading() as session:
            return bool(session.scalars(open_orders.union_all(select(TrackingNumber.id).where(*giving_back))).all())

    def settle(self) -> None:
        """The carrier answers well from now on; in the end it has for us what we have, and what we have was bought."""
        self.shop.before.clear()
        self.shop.after.clear()
        self.commits_left = None
        for _ in range(60):
            if not self.unsettled():
                break
            self.now += timedelta(minutes=20)
            self._one_by_one()
            advance_releases(self.server, self.now)
        assert not self.unsettled()
        with self.database.reading() as session:
            here = select(TrackingNumber).where(TrackingNumber.released_at.is_(None))
            assert {one.e164: one.carrier_sid for one in session.scalars(here)} == {
                one.e164: one.sid for one in self.shop.owned()
            }
            assert session.scalars(select(Project.balance_minor)).one() >= 0
        self.the_ledgers_sum_is_the_balance_and_never_below_zero()
        self.paid_time_has_no_overlap_and_no_gap_outside_grace()


@pytest.fixture
def machine(sqlite_template: Path, monkeypatch: pytest.MonkeyPatch) -> type[RentLife]:
    """Whose workers take one number after the other: what threads do side by side, hypothesis could not repeat."""
    for work in (purchase, release):
        monkeypatch.setattr(work, "AT_ONCE", 1)
    RentLife.template = sqlite_template
    return RentLife


def test_r4_r5_any_life_of_rented_numbers_keeps_the_books_right(machine: type[RentLife]) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # hypothesis has no types here
        machine,
        settings=settings(max_examples=examples(25), stateful_step_count=25, suppress_health_check=list(HealthCheck)),
    )
