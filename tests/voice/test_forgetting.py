"""R14: a forgotten caller's number stands nowhere in the project; his calls stay, count, and are decided as before, in whatever order they
become known."""

import json
import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import JSON, String, delete, select

from router.accounts.audit import Actor
from router.accounts.models import AuditEntry, Project
from router.carriers.base import InboundCall
from router.cli import router
from router.db import Base
from router.integrations import forgetting as in_deliveries
from router.lib.crypto import KeyRing
from router.lib.phones import Redactor, read_caller, spellings_of_line
from router.server import Server
from router.voice.answers import Begun
from router.voice.applier import adopt_unknown_calls, apply_records
from router.voice.forgetting import ERASED, Erased, ForgettingRefused, forget_caller
from router.voice.importing.calls import OldCall, write_old_calls
from router.voice.journal import VERSION
from router.voice.models import (
    EXTERNAL,
    Call,
    CallEvent,
    ForgottenCaller,
    JournalPosition,
    SetAsideRecord,
    UnknownCall,
)
from router.voice.records import Record, inbound_record
from router.voice.repair import retry_set_aside
from router.voice.routing import find_route
from tests.factories import COMPANY_LINE, NOON, make_mail, make_project, make_scenario, make_visit
from tests.properties import by_turns, examples
from tests.voice.carrier import ANNA
from tests.voice.journals import NUMBER, Heard, Machines, calls, count, inbound_at, status_at, stored

ALICE = Actor("alice@example.com")
MINUTE = timedelta(minutes=1)
OTHER_NUMBER = "+12125552099"
MEXICAN = ("+525512345678", "+5215512345678")


def forget(server: Server, caller: str = ANNA, project: str = "k-shop") -> Erased:
    with server.database.writing() as session:
        owner = session.scalars(select(Project).where(Project.key == project)).one()
        return forget_caller(server, session, owner, caller, ALICE, server.now())


def apply(server: Server, *records: Record) -> None:
    with server.database.writing() as session:
        apply_records(server, session, records, server.now(), announcing=True)


def set_aside(server: Server, record: Record, position: str = "1:0") -> None:
    with server.database.writing() as session:
        kept = json.dumps({**record, "version": VERSION})
        session.add(
            SetAsideRecord(machine="m", position=position, call_sid=None, reason="Error", record=kept, at=server.now())
        )


def dump(server: Server) -> str:
    """All that stands in the database."""
    with server.database.reading() as session:
        rows = [row for table in Base.metadata.sorted_tables for row in session.execute(select(table))]
    return "\n".join(str(tuple(row)) for row in rows)


def assert_nowhere(server: Server, caller: str) -> None:
    text = dump(server)
    assert not [spelling for spelling in spellings_of_line(caller) if spelling[1:] in text]
    assert Redactor(caller).text(text) == text


def names(server: Server, sid: str) -> tuple[str | None, str, bool]:
    call = calls(server)[sid]
    return call.caller, call.caller_raw, call.forgotten_id is not None


@pytest.fixture
def other(shop: Server) -> Server:
    """Another project, which the same people call."""
    with shop.database.writing() as session:
        make_scenario(session, make_project(session, name="Garage"), [OTHER_NUMBER], destinations=[COMPANY_LINE])
    return shop


def other_inbound(server: Server, sid: str, at: datetime, caller: str = ANNA) -> Record:
    with server.database.reading() as session:
        route = find_route(session, OTHER_NUMBER)
    assert route is not None
    call = InboundCall(sid, "AC1", read_caller(caller), OTHER_NUMBER, OTHER_NUMBER)
    return inbound_record(call, route, Begun(at, route.flow, route.flow_id), EXTERNAL, at)


def test_r14_the_calls_stay_as_they_were_without_the_number(shop: Server, clock: Any) -> None:
    apply(shop, inbound_at(shop, "CA1", NOON), inbound_at(shop, "CA2", NOON + MINUTE), status_at("CA1", NOON + MINUTE))
    before = {sid: stored(call) | {"caller": None} for sid, call in calls(shop).items()}
    clock.shift(2 * MINUTE)
    assert forget(shop).calls == 2
    after = calls(shop)
    assert {sid: stored(call) for sid, call in after.items()} == before
    assert [call.first_call for call in after.values()] == [True, False]
    assert len({call.forgotten_id for call in after.values()}) == 1
    assert names(shop, "CA1") == (None, "", True)
    assert_nowhere(shop, ANNA)


def test_r14_a_later_call_is_a_call_as_any(shop: Server, clock: Any) -> None:
    apply(shop, inbound_at(shop, "CA1", NOON))
    clock.shift(MINUTE)
    forget(shop)
    clock.shift(MINUTE)
    apply(shop, inbound_at(shop, "CA2", shop.now()))
    assert names(shop, "CA2") == (ANNA, ANNA, False)
    assert calls(shop)["CA2"].first_call
    apply(shop, inbound_at(shop, "CA3", shop.now()))
    assert not calls(shop)["CA3"].first_call


def test_r14_another_project_keeps_what_it_has(other: Server, clock: Any) -> None:
    apply(other, inbound_at(other, "CA1", NOON), other_inbound(other, "CA2", NOON))
    set_aside(other, other_inbound(other, "CA3", NOON))
    apply(other, {**status_at("CA4", NOON), "call": other_inbound(other, "CA4", NOON)["call"]})
    clock.shift(MINUTE)
    assert forget(other) == Erased(1, 0, 0)
    assert names(other, "CA2") == (ANNA, ANNA, False)
    apply(other, other_inbound(other, "CA5", NOON))
    assert retry_set_aside(other, other.now()) == (1, 0)
    clock.shift(2 * MINUTE)
    adopt_unknown_calls(other, other.now())
    assert {sid: call.caller for sid, call in calls(other).items() if sid != "CA1"} == dict.fromkeys(
        ("CA2", "CA3", "CA4", "CA5"), ANNA
    )


@pytest.mark.parametrize(("database_kind", "called", "forgotten", "late"), by_turns(MEXICAN, MEXICAN, MEXICAN))
def test_r14_every_spelling_of_the_line_is_forgotten(
    shop: Server, clock: Any, called: str, forgotten: str, late: str
) -> None:
    apply(shop, inbound_at(shop, "CA1", NOON, f"sip:{called}@carrier.example"))
    clock.shift(MINUTE)
    assert forget(shop, forgotten).calls == 1
    apply(shop, inbound_at(shop, "CA2", NOON + timedelta(seconds=30), late))
    assert names(shop, "CA1") == names(shop, "CA2") == (None, "", True)
    assert [call.first_call for call in calls(shop).values()] == [True, False]
    assert_nowhere(shop, called)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("known", ["before", "between", "after"])
def test_r14_of_two_machines_twenty_minutes_late_the_decision_is_the_same(
    shop: Server, machines: Machines, clock: Any, first: int, known: str
) -> None:
    """`known`: when the journals were applied, beside the forgetting."""
    machines.append(0, inbound_at(shop, "CA1", NOON))
    machines.append(0, status_at("CA1", NOON + timedelta(seconds=40)))
    machines.append(1, inbound_at(shop, "CA2", NOON + MINUTE))
    machines.append(1, status_at("CA2", NOON + 2 * MINUTE))
    clock.shift(5 * MINUTE)
    if known != "after":
        machines.apply(first)
    if known == "before":
        machines.apply(1 - first)
    forget(shop)
    clock.shift(20 * MINUTE)
    machines.apply(first)
    machines.apply(1 - first)
    assert names(shop, "CA1") == names(shop, "CA2") == (None, "", True)
    assert [call.first_call for call in calls(shop).values()] == [True, False]
    assert [call.status for call in calls(shop).values()] == ["answered", "answered"]
    assert calls(shop)["CA1"].forgotten_id == calls(shop)["CA2"].forgotten_id
    assert_nowhere(shop, ANNA)


def test_r14_who_calls_between_two_forgettings_is_another_caller(shop: Server, clock: Any) -> None:
    clock.shift(MINUTE)
    forget(shop)
    clock.shift(MINUTE)
    apply(shop, inbound_at(shop, "CA2", shop.now()))
    clock.shift(MINUTE)
    forget(shop)
    apply(shop, inbound_at(shop, "CA1", NOON))
    assert [call.first_call for call in calls(shop).values()] == [True, True]
    assert len({call.forgotten_id for call in calls(shop).values()}) == 2


def test_r14_a_record_that_was_set_aside_is_erased_and_can_be_applied(shop: Server, clock: Any) -> None:
    set_aside(shop, inbound_at(shop, "CA1", NOON))
    clock.shift(MINUTE)
    assert forget(shop) == Erased(0, 0, 1)
    assert_nowhere(shop, ANNA)
    assert retry_set_aside(shop, shop.now()) == (1, 0)
    assert names(shop, "CA1") == (None, "", True)
    assert calls(shop)["CA1"].first_call


def test_r14_a_record_that_a_release_before_set_aside_later_is_erased_as_it_is_applied(
    shop: Server, clock: Any
) -> None:
    clock.shift(MINUTE)
    forget(shop)
    set_aside(shop, inbound_at(shop, "CA1", NOON))
    set_aside(shop, inbound_at(shop, "CA2", shop.now() + MINUTE), "1:1")
    assert retry_set_aside(shop, shop.now()) == (2, 0)
    assert names(shop, "CA1") == (None, "", True)
    assert names(shop, "CA2") == (ANNA, ANNA, False)


def test_r14_a_record_that_is_set_aside_later_is_erased(shop: Server, machines: Machines, clock: Any) -> None:
    record = inbound_at(shop, "CA1", NOON)
    route = {name: value for name, value in record["route"].items() if name != "hold"}
    machines.append(0, {**record, "route": route})
    clock.shift(MINUTE)
    forget(shop)
    machines.apply(0)
    assert count(shop, SetAsideRecord) == 1
    assert_nowhere(shop, ANNA)


def test_r14_a_damaged_line_loses_the_number_alone(shop: Server, clock: Any) -> None:
    with shop.database.writing() as session:
        text = f'{{"caller": "{ANNA}", "sid": "CA7'
        session.add(SetAsideRecord(machine="m", position="1:0", call_sid=None, reason="no", record=text, at=NOON))
    assert forget(shop) == Erased(0, 0, 1)
    with shop.database.reading() as session:
        assert session.scalars(select(SetAsideRecord.record)).one() == '{"caller": "…", "sid": "CA7'


@pytest.mark.parametrize("event_after", [-30, 30])
@pytest.mark.parametrize("inbound_comes", [True, False])
def test_r14_a_call_that_is_known_by_its_end_alone(
    shop: Server, clock: Any, event_after: int, inbound_comes: bool
) -> None:
    """Its last event came before or after the forgetting; the call began before it."""
    clock.shift(5 * MINUTE)
    moment = shop.now()
    ended = status_at("CA1", moment + timedelta(seconds=event_after), seconds=60)
    if event_after < 0:
        apply(shop, ended)
    forget(shop)
    clock.shift(MINUTE)
    apply(shop, ended)
    if inbound_comes:
        apply(shop, inbound_at(shop, "CA1", moment - MINUTE))
        assert_nowhere(shop, ANNA)
    clock.shift(5 * MINUTE)
    adopt_unknown_calls(shop, shop.now())
    assert names(shop, "CA1") == (None, "", True)
    assert calls(shop)["CA1"].status == "answered"
    assert_nowhere(shop, ANNA)
    apply(shop, inbound_at(shop, "CA1", moment - 2 * MINUTE))
    assert calls(shop)["CA1"].started_at == moment - 2 * MINUTE
    assert names(shop, "CA1") == (None, "", True)
    assert_nowhere(shop, ANNA)


def test_r14_whoever_is_forgotten_while_a_call_is_being_applied_is_forgotten(
    shop: Server, machines: Machines, clock: Any
) -> None:
    records = [inbound_at(shop, "CA1", NOON), {**status_at("CA2", NOON), "key": "x"}]
    clock.shift(MINUTE)
    other = threading.Thread(target=forget, args=(shop,))
    with shop.database.writing() as session:
        apply_records(shop, session, records, shop.now(), announcing=True)
        other.start()
        other.join(1.0)
    other.join()
    assert names(shop, "CA1") == (None, "", True)
    assert_nowhere(shop, ANNA)


def test_r14_what_is_applied_while_somebody_is_being_forgotten_is_forgotten(
    shop: Server, machines: Machines, clock: Any
) -> None:
    machines.append(0, inbound_at(shop, "CA1", NOON))
    clock.shift(MINUTE)
    other = threading.Thread(target=machines.apply, args=(0,))
    with shop.database.writing() as session:
        project = session.scalars(select(Project)).one()
        forget_caller(shop, session, project, ANNA, ALICE, shop.now())
        other.start()
        other.join(1.0)
    other.join()
    assert names(shop, "CA1") == (None, "", True)


def test_r14_receivers_hear_of_late_calls_without_the_number(
    shop: Server, machines: Machines, heard: Heard, clock: Any
) -> None:
    machines.append(0, inbound_at(shop, "CA1", NOON))
    clock.shift(MINUTE)
    forget(shop)
    machines.apply(0)
    machines.append(0, status_at("CA1", shop.now()))
    machines.apply(0)
    assert heard.events == [("CA1", "started"), ("CA1", "ended")]


@pytest.mark.parametrize("keys", [("k" * 20, "old-key-of-the-server"), ("k" * 20,)])
def test_r14_a_hash_by_an_old_key_counts_while_the_key_is_listed(
    shop: Server, clock: Any, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...]
) -> None:
    monkeypatch.setattr(shop, "keys", KeyRing(("old-key-of-the-server",)))
    clock.shift(MINUTE)
    forget(shop)
    monkeypatch.setattr(shop, "keys", KeyRing(keys))
    apply(shop, inbound_at(shop, "CA1", NOON))
    assert names(shop, "CA1")[2] is (len(keys) == 2)


def test_r14_the_hash_of_a_line_is_another_one_in_each_project(other: Server) -> None:
    forget(other)
    forget(other, project="k-garage")
    with other.database.reading() as session:
        hashes = session.scalars(select(ForgottenCaller.line_hash)).all()
    assert len(set(hashes)) == 2


def old_call(server: Server, at: datetime) -> OldCall:
    with server.database.reading() as session:
        route = find_route(session, NUMBER)
    assert route is not None
    return OldCall(route.number_id, NUMBER, ANNA, at, "google", "cpc", "Spring")


def test_r14_a_call_log_brings_no_forgotten_caller_back(shop: Server, clock: Any) -> None:
    with shop.database.reading() as session:
        project = session.scalars(select(Project)).one()
    first = old_call(shop, NOON - timedelta(days=9))
    assert write_old_calls(shop, project, [first], shop.now()) == 1
    sid = first.sid(project.id)
    apply(shop, {**status_at(sid, NOON), "call": None})
    clock.shift(MINUTE)
    assert forget(shop).calls == 1
    (call,) = calls(shop).values()
    assert (call.caller, call.source and call.source["campaign"], call.first_call) == (None, "Spring", True)
    assert sid not in dump(shop), "the id would tell the number to whoever tries all of them"
    with shop.database.reading() as session:
        assert session.scalars(select(CallEvent.call_sid)).all() == [call.sid]
    second = old_call(shop, NOON + 2 * MINUTE)
    assert write_old_calls(shop, project, [first, old_call(shop, NOON), second], shop.now()) == 1
    assert [each.caller for each in calls(shop).values()] == [None, ANNA]


@pytest.mark.parametrize("number", [NUMBER, COMPANY_LINE])
def test_r14_the_companys_own_numbers_are_no_callers(shop: Server, number: str) -> None:
    with shop.database.writing() as session:
        project = session.scalars(select(Project)).one()
        project.own_numbers = [{"number": COMPANY_LINE, "remark": ""}]
    with pytest.raises(ForgettingRefused):
        forget(shop, number)
    assert count(shop, ForgottenCaller) == 0


@pytest.fixture
def commanded(shop: Server, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr("router.cli.open_server", lambda: shop)
    return shop


def run(server: Server, number: str, project: int | None = None) -> Any:
    with server.database.reading() as session:
        own = session.scalars(select(Project.id).order_by(Project.id)).first()
    return CliRunner().invoke(router, ["forget-caller", str(own if project is None else project), "--", number])


@pytest.mark.parametrize("typed", ["+1 415 555 0177", "(415) 555-0177"])
def test_r14_the_command_reads_a_number_as_it_is_typed_and_says_what_it_erased(
    commanded: Server, clock: Any, typed: str
) -> None:
    apply(commanded, inbound_at(commanded, "CA1", NOON))
    clock.shift(MINUTE)
    done = run(commanded, typed)
    assert done.output.startswith("Forgotten: the number was erased in 1 call, 0 messages and 0 other records.\n")
    assert done.exit_code == 0
    with commanded.database.reading() as session:
        (entry,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "caller.forgotten"))
    assert (entry.actor, entry.detail) == ("the console", {"calls": 1, "messages": 0, "records": 0, "recordings": 0})
    assert_nowhere(commanded, ANNA)


@pytest.mark.parametrize(
    ("typed", "project", "says"),
    [
        ("12", None, "is not"),
        ("+1 415 555 0177", 99, "There is no project 99."),
        (NUMBER, None, "one of the project's tracking numbers"),
    ],
)
def test_r14_the_command_says_what_is_wrong(commanded: Server, typed: str, project: int | None, says: str) -> None:
    done = run(commanded, typed, project)
    assert done.exit_code == 1
    assert says in done.output
    assert count(commanded, ForgottenCaller) == 0


CALLERS = st.sampled_from(
    [
        "+14155550188",
        "+5215512345678",
        "+5491123456789",
        "+5511987654321",
        "+393331234567",
        "+390612345678",
        "+491721234567",
    ]
)
WAYS = st.sampled_from(["{e164}", "00{digits}", "tel:{e164}", "%2B{digits}", "{spaced}", "sip:{e164}@carrier.example"])


@given(data=st.data())
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_r14_no_table_has_the_number_afterwards(data: st.DataObject, shop: Server) -> None:
    caller = data.draw(CALLERS)
    spellings = st.sampled_from(spellings_of_line(caller))

    def written() -> str:
        e164 = data.draw(spellings)
        way = data.draw(WAYS)
        return way.format(e164=e164, digits=e164[1:], spaced=f"{e164[:3]} {e164[3:6]} {e164[6:9]}-{e164[9:]}")

    with shop.database.writing() as session:
        for model in (Call, CallEvent, UnknownCall, SetAsideRecord, ForgottenCaller, JournalPosition):
            session.execute(delete(model))
        project = session.scalars(select(Project)).one()
        number = session.scalar(select(AuditEntry.id).order_by(AuditEntry.id.desc()).limit(1)) or 0
        session.add(
            AuditEntry(
                project_id=project.id, actor="a", at=NOON, action="x", subject=written(), detail={"a": [written()]}
            )
        )
        make_mail(session, project, key=f"key {number}", body=f"He is {written()}.", subject=written())
        make_visit(session, project, page=f"https://shop.example/?phone={written()}&x=1", params={"phone": written()})
    records = [inbound_at(shop, f"CA{place}", NOON, data.draw(spellings)) for place in range(4)]
    apply(shop, records[0], {**status_at("CB1", NOON), "call": {**records[0]["call"], "sid": "CB1"}})
    set_aside(shop, records[1])
    forget(shop, data.draw(spellings))
    assert_nowhere(shop, caller)
    set_aside(shop, records[2], "1:2")
    assert retry_set_aside(shop, shop.now()) == (2, 0)
    apply(shop, records[3])
    assert_nowhere(shop, caller)
    assert {call.forgotten_id is not None for call in calls(shop).values()} == {True}


OURS = "an id, a word or a figure of ours"
CARRIERS = "an id, a word or an address of the carrier"
TYPED = "what people of the company typed about the company itself"
PEOPLE = "of people who sign in"
NO_TEXT_OF_CALLERS = {
    "accuracy_day": OURS,
    "api_token": PEOPLE,
    "call_leg": "the company's own lines and ids",
    "call_recording": "ids, words of ours and the carrier's, and names of files that are random",
    "carrier_account": TYPED,
    "crawler_day": OURS,
    "crm_account": "what a CRM says of the company: its name, people, teams and fields",
    "forgotten_caller": "the keyed hash",
    "holiday": TYPED,
    "integration": TYPED,
    "integration_problem": TYPED,
    "journal_position": "names of machines",
    "ledger_entry": "tracking numbers, and what the operator wrote about payments",
    "membership": OURS,
    "number_batch": TYPED,
    "number_compliance": TYPED,
    "number_order": "numbers of the company",
    "old_settings_file": TYPED,
    "person": PEOPLE,
    "pool_number": "numbers of the company",
    "pool_plan": OURS,
    "project": TYPED,
    "receiver_notice": OURS,
    "redirect": "ids, and an address of ours",
    "refused_origin": "hosts",
    "routing_change": "tracking numbers and ids",
    "routing_version": OURS,
    "scenario": TYPED,
    "scenario_draft": TYPED,
    "sound": TYPED,
    "server_fact": OURS,
    "sign_in_attempt": PEOPLE,
    "tracking_number": "numbers of the company",
    "unserved": OURS,
    "upkeep_run": OURS,
    "call_flow": TYPED,
}
"""Tables whose texts are nobody's who calls."""
DECIDED = {
    "audit_entry": {"actor", "action"},
    "blocked_caller": {"created_by"},
    "call": {
        *("sid", "kind", "number", "flow", "status", "destination", "recording_sid", "recording_url", "rule", "shares"),
        *("price_currency", "fan_out_due"),
    },
    "call_event": {"call_sid", "key", "kind"},
    "call_log_file": {"choices"},
    "delivery": {"message_id", "event", "destination", "state", "lease_owner"},
    "delivery_attempt": {"outcome"},
    "destination_health": {"destination"},
    "lead": {"destination", "external_key", "external_id"},
    "mail": {"key", "recipient", "error", "attachment"},
    "set_aside_record": {"machine", "position", "call_sid"},
    "text_message": {"sid", "kind", "number"},
    "unknown_call": {"sid"},
    "visit": {"visitor", "channel", "address", "region"},
}
"""Of the other tables the texts that say nothing of who calls. `call.sid` of a call that was brought over is renewed."""
EMPTIED = {
    "blocked_caller": {"pattern"},
    "text_message": {"sender"},
    "call": {"caller", "caller_raw"},
    "call_log_file": {"name", "sealed"},
    "delivery": {"order_key"},
    "lead": {"caller"},
}


def test_r14_of_every_text_is_decided_whether_it_may_have_a_callers_number() -> None:
    looked_at = {model.__tablename__: set(names) for model, names in (ERASED | in_deliveries.ERASED).items()}
    undecided = []
    for table in Base.metadata.sorted_tables:
        texts = {column.name for column in table.c if isinstance(column.type, String | JSON)}
        decided = [each.get(table.name, set()) for each in (DECIDED, EMPTIED, looked_at)]
        assert sum(map(len, decided)) == len(set().union(*decided)), table.name
        assert set().union(*decided) <= texts, table.name
        if table.name not in NO_TEXT_OF_CALLERS:
            undecided += [f"{table.name}.{name}" for name in sorted(texts.difference(*decided))]
        else:
            assert not any(decided), table.name
    assert undecided == [], "say in router/voice/forgetting.py that it is erased, or here why it needs not be"
    assert set(NO_TEXT_OF_CALLERS) <= set(Base.metadata.tables)
