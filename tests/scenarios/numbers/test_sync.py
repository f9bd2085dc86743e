"""`router numbers sync`: the carrier's numbers and ours, compared both ways (R5)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from router.accounts.models import LedgerEntry, Project
from router.carriers.base import Owned
from router.cli import router
from router.db import Database
from router.scenarios.models import TrackingNumber
from router.scenarios.numbers.purchase import buy_now
from router.scenarios.numbers.sync import MISSING, compare, sync_numbers
from router.server import Server
from tests.carriers.rest import Carrier, running_carrier
from tests.carriers.rest_faults import Fault
from tests.factories import NOON, make_ledger_entry, make_project

ONE, TWO, OWN = "+12015550101", "+12015550102", "+12015550103"


@pytest.fixture
def carrier(server: Server, tmp_path: Path) -> Iterator[Carrier]:
    with running_carrier(tmp_path) as running:
        server.shop = running.shop
        yield running


@pytest.fixture
def project(database: Database) -> Project:
    with database.writing() as session:
        project = make_project(session, (OWN,), currency="EUR", number_price_minor=150)
        make_ledger_entry(session, project, 1000)
        return project


def number(server: Server, e164: str) -> TrackingNumber:
    with server.database.reading() as session:
        return session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == e164)).one()


def change(server: Server, e164: str, **values: Any) -> None:
    with server.database.writing() as session:
        found = session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == e164)).one()
        for name, value in values.items():
            setattr(found, name, value)


def test_r5_when_both_sides_agree_nothing_is_said(server: Server, carrier: Carrier, project: Project) -> None:
    buy_now(server, project, "alice", ONE, NOON)
    synced = sync_numbers(server, NOON)
    assert (synced.both, synced.sentences) == (1, [])


def test_r5_what_is_only_here_is_marked_until_it_is_there_again(
    server: Server, carrier: Carrier, project: Project
) -> None:
    buy_now(server, project, "alice", ONE, NOON)
    carrier.account.release(number(server, ONE).carrier_sid or "")
    (sentence,) = sync_numbers(server, NOON).sentences
    assert ONE in sentence
    assert number(server, ONE).carrier_error == MISSING
    assert number(server, OWN).carrier_error == "", "one that is owned elsewhere is not missed"
    again = carrier.shop.buy(ONE, "by hand")
    assert sync_numbers(server, NOON).sentences == []
    found = number(server, ONE)
    assert (found.carrier_error, found.carrier_sid) == ("", again.sid)


def test_r5_a_number_that_the_list_forgets_for_a_moment_is_not_missed(
    server: Server, carrier: Carrier, project: Project
) -> None:
    buy_now(server, project, "alice", ONE, NOON)
    carrier.faults.queue("list", Fault.omits(ONE))
    assert sync_numbers(server, NOON).sentences == []


def test_r5_a_number_on_its_way_back_is_not_missed(server: Server, carrier: Carrier, project: Project) -> None:
    buy_now(server, project, "alice", ONE, NOON)
    change(server, ONE, releasing_at=NOON)
    carrier.account.release(number(server, ONE).carrier_sid or "")
    assert sync_numbers(server, NOON).sentences == []
    assert number(server, ONE).carrier_error == ""


def test_r5_a_purchase_that_nobody_noticed_is_brought_in_and_paid_once(
    server: Server, carrier: Carrier, project: Project
) -> None:
    """The carrier did it long after everybody had given up and the money was back."""
    forgotten_purchase(server, carrier, project)
    (sentence,) = sync_numbers(server, NOON).sentences
    assert "free numbers" in sentence
    found = number(server, ONE)
    assert (found.project_id, found.scenario_id, found.owned_elsewhere) == (project.id, None, False)
    with server.database.reading() as session:
        amounts = [entry.amount_minor for entry in session.scalars(select(LedgerEntry).order_by(LedgerEntry.id))]
    assert sum(amounts) == 1000 - 150
    assert carrier.bought() == {ONE: 1}
    assert sync_numbers(server, NOON).sentences == []


def test_r4_a_purchase_that_cannot_be_paid_is_named_and_waits(
    server: Server, carrier: Carrier, project: Project
) -> None:
    forgotten_purchase(server, carrier, project)
    with server.database.writing() as session:
        make_ledger_entry(session, project, -900, "spent:1")
    (sentence,) = sync_numbers(server, NOON).sentences
    assert "0.50 EUR are missing" in sentence
    with server.database.reading() as session:
        assert session.scalars(select(TrackingNumber.e164)).all() == [OWN]


def test_r5_other_numbers_of_the_account_are_named_and_left_alone(
    server: Server, carrier: Carrier, project: Project
) -> None:
    """Also one with a label like ours: another server may share the account."""
    order = forgotten_purchase(server, carrier, project, really=False)
    carrier.shop.buy(TWO, f"ct:{order}")
    carrier.shop.buy("+12015550104", "Reception")
    carrier.shop.buy(OWN, "Reception")
    first, second = sync_numbers(server, NOON, configure=True).sentences
    assert (TWO in first, "'Reception'" in second) == (True, True)
    with server.database.reading() as session:
        assert session.scalars(select(TrackingNumber.e164)).all() == [OWN]


def test_r5_a_number_that_was_given_back_and_is_still_there_is_named(
    server: Server, carrier: Carrier, project: Project
) -> None:
    buy_now(server, project, "alice", ONE, NOON)
    change(server, ONE, releasing_at=NOON, released_at=NOON)
    (sentence,) = sync_numbers(server, NOON).sentences
    assert "given back here" in sentence
    assert carrier.bought() == {ONE: 1}


def test_r5_a_purchase_under_way_is_left_to_the_worker(server: Server, carrier: Carrier, project: Project) -> None:
    carrier.faults.queue("buy", Fault.dead(done=True))
    carrier.faults.queue("list", Fault.omits(ONE))
    assert buy_now(server, project, "alice", ONE, NOON).state == "unknown"
    (sentence,) = sync_numbers(server, NOON).sentences
    assert "being bought" in sentence


def test_r5_the_addresses_are_set_again_when_it_is_asked_for(
    server: Server, carrier: Carrier, project: Project
) -> None:
    buy_now(server, project, "alice", ONE, NOON)
    sid = number(server, ONE).carrier_sid or ""
    carrier.account.change(sid, {"VoiceUrl": "https://elsewhere.example/"})
    sync_numbers(server, NOON)
    assert voice_url(carrier, sid) == "https://elsewhere.example/"
    assert sync_numbers(server, NOON, configure=True).sentences == []
    assert "/voice/inbound#" in voice_url(carrier, sid)
    carrier.faults.queue("update", Fault.broken(done=False))
    (sentence,) = sync_numbers(server, NOON, configure=True).sentences
    assert sentence.startswith(f"{ONE} could not be pointed")


def test_r5_a_carrier_that_cannot_be_asked_changes_nothing(
    server: Server, carrier: Carrier, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    buy_now(server, project, "alice", ONE, NOON)
    monkeypatch.setattr("router.cli.open_server", lambda: server)
    carrier.faults.always("list", Fault.broken(done=False))
    failed = CliRunner().invoke(router, ["numbers", "sync"])
    assert failed.exit_code == 1
    assert "Error: The carrier answered 500" in failed.output
    assert number(server, ONE).carrier_error == ""
    carrier.faults.clear()
    done = CliRunner().invoke(router, ["numbers", "sync", "--configure"])
    assert done.output == "Here and at the carrier: 1.\n"
    assert [kind for kind, _ in carrier.faults.asked].count("update") == 1


@given(
    st.dictionaries(st.sampled_from(["+11", "+12", "+13", "+14"]), st.tuples(st.booleans(), st.booleans())),
    st.sets(st.sampled_from(["+11", "+12", "+13", "+14"])),
)
def test_r5_every_number_of_the_carrier_is_told_once(ours: dict[str, tuple[bool, bool]], there: set[str]) -> None:
    here = [
        TrackingNumber(e164=e164, owned_elsewhere=not rented, releasing_at=NOON if back else None)
        for e164, (rented, back) in ours.items()
    ]
    found = compare(here, [Owned(e164, "PN", "") for e164 in there])
    assert {one.e164 for one in found.only_there} == there - set(ours)
    assert {one.e164 for one, _ in found.both} == there & set(ours)
    assert {one.e164 for one in found.only_here} == {
        e for e, (rented, back) in ours.items() if rented and not back
    } - there


def forgotten_purchase(server: Server, carrier: Carrier, project: Project, really: bool = True) -> int:
    """An order that was refused and refunded, and done all the same."""
    carrier.faults.queue("buy", Fault.refuses(21631))
    order = buy_now(server, project, "alice", ONE, NOON)
    assert order.state == "refused"
    if really:
        carrier.shop.buy(ONE, f"ct:{order.id}")
    return order.id


def voice_url(carrier: Carrier, sid: str) -> str:
    found = carrier.account.find(sid)
    assert found is not None
    return str(found["voice_url"])
