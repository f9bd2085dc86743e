"""The ledger (R4): its sum is the balance whatever happens, nothing counts twice, and no charge takes it below zero."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select

from router.accounts.ledger import LARGEST_MINOR, BalanceTooLarge, BalanceTooLow, Post, find_entry, post
from router.accounts.models import LedgerEntry, Mail, Project
from router.db import Database
from tests.factories import make_project
from tests.people import ALICES_SHOP, NOW
from tests.properties import examples


def a_post(amount: int, reason: str, **values: str) -> Post:
    return Post(amount, reason, "the server", **values)


def make(database: Database, balance: int = 0) -> int:
    with database.writing() as session:
        project = make_project(session, **ALICES_SHOP)
        if balance:
            post(session, project.id, a_post(balance, "first"), NOW)
        return project.id


def sums(database: Database, project_id: int) -> tuple[int, int, int]:
    """The balance as the project, the sum of entries and the last entry tell it."""
    with database.reading() as session:
        entries = session.scalars(
            select(LedgerEntry).where(LedgerEntry.project_id == project_id).order_by(LedgerEntry.id)
        ).all()
        balance = session.get_one(Project, project_id).balance_minor
    return balance, sum(one.amount_minor for one in entries), entries[-1].balance_minor if entries else 0


def mails(database: Database) -> list[Mail]:
    with database.reading() as session:
        return list(session.scalars(select(Mail).order_by(Mail.id)))


class Crash(Exception):
    pass


def test_r4_sum_balance_and_last_entry_agree_after_anything(database: Database) -> None:
    """Top-ups, charges, refusals, repeats and crashes before the commit, in any order, beside another project."""

    class Money(RuleBasedStateMachine):
        @initialize()
        def begin(self) -> None:
            self.project, self.other = make(database), make(database, 7)
            self.expected = 0
            self.counted: set[str] = set()
            self.times_used_up = 0

        @rule(amount=st.integers(-40, 60), reason=st.integers(0, 30), crash=st.booleans())
        def post_one(self, amount: int, reason: int, crash: bool) -> None:
            name = f"reason:{reason}"
            counts = amount != 0 and name not in self.counted
            refused = counts and amount < 0 and self.expected + amount < 0
            try:
                with database.writing() as session:
                    row = post(session, self.project, a_post(amount, name), NOW)
                    assert (row is not None) == counts
                    assert not refused
                    if crash:
                        raise Crash
            except BalanceTooLow:
                assert refused
                return
            except Crash:
                return
            if counts:
                self.expected += amount
                self.counted.add(name)
                self.times_used_up += amount < 0 and self.expected == 0

        @rule(amount=st.integers(1, 100))
        def charge_what_is_not_there(self, amount: int) -> None:
            with pytest.raises(BalanceTooLow) as caught, database.writing() as session:
                post(session, self.project, a_post(-self.expected - amount, f"too much {amount}"), NOW)
            assert caught.value.missing_minor == amount

        @invariant()
        def agree(self) -> None:
            assert sums(database, self.project) == (self.expected, self.expected, self.expected)
            assert self.expected >= 0
            assert sums(database, self.other) == (7, 7, 7)
            with database.reading() as session:
                written = session.scalar(select(func.count()).select_from(Mail).where(Mail.project_id == self.project))
            assert written == self.times_used_up

    run_state_machine_as_test(  # type: ignore[no-untyped-call]  # hypothesis has no types here
        Money,
        settings=settings(max_examples=examples(12), stateful_step_count=15, suppress_health_check=list(HealthCheck)),
    )


def in_parallel(database: Database, project_id: int, entries: list[Post]) -> list[str]:
    """Each in a thread and transaction of its own: counted, repeated or refused."""

    def one(entry: Post) -> str:
        try:
            with database.writing() as session:
                return "counted" if post(session, project_id, entry, NOW) else "repeated"
        except BalanceTooLow:
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, entries))


def test_r4_charges_at_once_take_turns_and_none_goes_below_zero(database: Database) -> None:
    project_id = make(database, 1000)
    ended = in_parallel(database, project_id, [a_post(-100, f"rent:{index}") for index in range(16)])
    assert (ended.count("counted"), ended.count("refused")) == (10, 6)
    assert sums(database, project_id) == (0, 0, 0)
    assert len(mails(database)) == 1


def test_r4_one_reason_at_once_counts_once(database: Database) -> None:
    project_id = make(database, 1000)
    ended = in_parallel(database, project_id, [a_post(-100, "rent:same")] * 12)
    assert (ended.count("counted"), ended.count("repeated")) == (1, 11)
    assert sums(database, project_id) == (900, 900, 900)


@pytest.fixture
def two_processes(database_url: str) -> Iterator[tuple[Database, Database]]:
    """Two engines with nothing in common but the database, as two processes have."""
    databases = Database(database_url), Database(database_url)
    yield databases
    for one in databases:
        one.dispose()


def test_r4_two_processes_charge_at_once(two_processes: tuple[Database, Database]) -> None:
    one, other = two_processes
    project_id = make(one, 500)
    reasons = [a_post(-100, f"rent:{index}") for index in range(8)]
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda database: in_parallel(database, project_id, reasons), (one, other)))
    assert sum(ended.count("counted") for ended in both) == 5
    assert sums(one, project_id) == (0, 0, 0)


def test_r4_a_repeated_reason_counts_once_whatever_its_amount(database: Database) -> None:
    project_id = make(database, 500)
    with database.writing() as session:
        assert post(session, project_id, a_post(-100, "rent:a"), NOW)
        assert post(session, project_id, a_post(-9999, "rent:a"), NOW) is None
        entry = find_entry(session, project_id, "rent:a")
    assert entry is not None
    assert (entry.amount_minor, entry.balance_minor) == (-100, 400)


def test_r4_the_same_reason_in_another_project_is_another(database: Database) -> None:
    one, other = make(database), make(database)
    for project_id in (one, other):
        with database.writing() as session:
            assert post(session, project_id, a_post(5, "gift"), NOW)


def test_r4_an_amount_of_zero_and_one_beyond_all_sense_write_nothing(database: Database) -> None:
    project_id = make(database, LARGEST_MINOR)
    with database.writing() as session:
        assert post(session, project_id, a_post(0, "nothing"), NOW) is None
    for amount in (1, 2**70):
        with pytest.raises(BalanceTooLarge), database.writing() as session:
            post(session, project_id, a_post(amount, "more"), NOW)
    with pytest.raises(BalanceTooLow), database.writing() as session:
        post(session, project_id, a_post(-(2**70), "less"), NOW)
    assert sums(database, project_id) == (LARGEST_MINOR,) * 3


def test_r4_one_email_each_time_the_balance_is_used_up(database: Database) -> None:
    project_id = make(database, 200)

    def move(amount: int, reason: str) -> int:
        with database.writing() as session:
            post(session, project_id, a_post(amount, reason), NOW + timedelta(hours=1))
        return len(mails(database))

    assert move(-100, "rent:1") == 0
    assert move(-100, "rent:2") == 1
    with pytest.raises(BalanceTooLow):
        move(-100, "rent:3")
    assert len(mails(database)) == 1
    assert move(100, "top-up") == 1
    assert move(-100, "rent:3") == 2
    (first, second) = mails(database)
    assert first.recipient == "office@shop.example.com"
    assert first.subject == "The balance of Alice's Shop is used up"
    assert "0.00 EUR" in first.body
    assert first.key != second.key


def test_r4_the_email_and_its_charge_are_written_together_or_not_at_all(database: Database) -> None:
    project_id = make(database, 100)
    with suppress(Crash), database.writing() as session:
        post(session, project_id, a_post(-100, "rent:1"), NOW)
        raise Crash
    assert mails(database) == []
    assert sums(database, project_id) == (100, 100, 100)
