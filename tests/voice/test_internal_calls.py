"""R10: calls from the company's own telephones are internal: put through, shown, and counted nowhere. A test call hears what happened."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from werkzeug.test import TestResponse

from router.accounts.models import Project
from router.app import make_server
from router.attribution.pool.numbers import follow_numbers
from router.carriers.base import Say
from router.carriers.twilio.twiml import render
from router.cli import router
from router.config import Settings
from router.db import Database
from router.integrations.models import Delivery, Integration
from router.lib.phones import Caller, line_of, read_caller, spellings_of_line
from router.scenarios.flows import refresh_destination_numbers
from router.scenarios.models import TrackingNumber
from router.server import Server
from router.voice.answers import announcement
from router.voice.applier import adopt_unknown_calls
from router.voice.journal import JournalError
from router.voice.models import EXTERNAL, INTERNAL, Call, CallEvent
from router.voice.routing import kind_of, lines_of, own_lines
from tests.contents import content
from tests.counting import count_statements
from tests.factories import COMPANY_LINE, NOON, make_integration, make_number, make_project, make_scenario
from tests.voice.carrier import ANNA, BASE, CarrierClient

NUMBER, PRINTED, OFF, FREE, OVERFLOW = (f"+1212555200{digit}" for digit in range(5))
SECOND_LINE, OTHER_LINE = "+14155550122", "+14155550133"
FALLBACK = "+14155550111"
COLLEAGUE, AGENCY = "+14155550144", "+525512345678"
OWN = [{"number": COLLEAGUE, "remark": "Bob"}, {"number": AGENCY, "remark": "the agency"}]
SITE = {"Origin": "https://shop.example", "User-Agent": "Mozilla/5.0"}


@content
def shop_with_own_numbers(database: Database, _: Any) -> None:
    with database.writing() as session:
        project = make_project(session, own_numbers=OWN)
        main = make_scenario(session, project, [NUMBER, OVERFLOW], destinations=[COMPANY_LINE, SECOND_LINE])
        session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == OVERFLOW)).one().overflow = True
        billboard = {"source": "billboard", "medium": "print", "campaign": "A7"}
        make_scenario(session, project, [PRINTED], static=billboard, title="Billboard", destinations=[OTHER_LINE])
        make_scenario(session, project, [OFF], title="Winter", enabled=False)
        make_number(session, project, FREE)
        for slot, kind in (("webhook_start", "webhook"), ("webhook_end", "webhook"), ("ga4", "ga4"), ("crm", "odoo")):
            make_integration(session, main, slot, kind)
        follow_numbers(session, list(session.scalars(select(TrackingNumber.id))))


@pytest.fixture
def shop(shop_with_own_numbers: None, server: Server, clock: Any) -> Server:
    refresh_destination_numbers(server, server.now())
    return server


def visit(client: FlaskClient, query: str = "utm_source=google&utm_medium=cpc&utm_campaign=spring") -> Any:
    return client.post("/tag/k-shop/visits", json={"page": f"https://shop.example/?{query}"}, headers=SITE).get_json()


def said(answer: TestResponse) -> str:
    assert (answer.status_code, answer.mimetype) == (200, "text/xml")
    return ElementTree.fromstring(answer.text).findtext("Say") or ""


def rung(answer: TestResponse) -> list[str | None]:
    return [one.text for one in ElementTree.fromstring(answer.text).iter("Number")]


def calls(server: Server) -> list[Call]:
    with server.database.reading() as session:
        return list(session.scalars(select(Call).order_by(Call.id)))


TEST_CALL = "This is a test call from one of your own telephones, recorded as internal,"


@pytest.mark.parametrize("caller", [COLLEAGUE, AGENCY, "+5215512345678", "sip:+14155550144@pbx.example.com"])
def test_r10_a_colleague_hears_that_it_was_a_test_call_and_is_connected(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any, caller: str
) -> None:
    given = visit(client)
    clock.shift(timedelta(seconds=40))
    answer = carrier.dial(NUMBER, caller)
    assert said(answer) == (
        f"{TEST_CALL} in the scenario Main line. A visitor who calls now would count for google, cpc, spring, 99 percent sure:"
        f" visit {given['visit']} was shown this number 40 seconds ago. You are put through now."
    )
    assert rung(answer) == [COMPANY_LINE]
    verbs = [verb.tag for verb in ElementTree.fromstring(answer.text)]
    assert verbs == ["Say", "Dial"]
    (call,) = calls(shop)
    assert (call.kind, call.first_call, call.rule, call.candidates[0]["visit"]) == (INTERNAL, False, "lease", 10001)
    assert call.source is not None
    assert call.source["source"] == "google"


def test_r10_a_destination_that_calls_hears_it_and_the_others_ring(shop: Server, carrier: CarrierClient) -> None:
    answer = carrier.dial(NUMBER, COMPANY_LINE)
    assert said(answer).endswith("Visitors are connected to this telephone too; the others ring now.")
    assert rung(answer) == [SECOND_LINE]
    following = carrier.post(
        "/voice/dial/CA1/1", CallSid="CA1", To=NUMBER, From=COMPANY_LINE, DialCallStatus="no-answer"
    )
    assert "<Hangup" in following.text
    assert calls(shop)[0].status == "missed"


def test_r10_what_was_said_is_not_said_again_when_a_destination_is_rung_again_with_our_number(
    shop: Server, carrier: CarrierClient
) -> None:
    """The carrier may refuse to show a caller's number in its old spelling: the same destination is rung again, and by GET too."""
    old_spelling = "+5215512345678"
    answer = carrier.dial(NUMBER, old_spelling)
    assert said(answer).startswith(TEST_CALL)
    dial = ElementTree.fromstring(answer.text).find("Dial")
    assert dial is not None
    path = dial.attrib["action"].removeprefix(BASE).partition("#")[0]
    assert path.endswith("&caller_id=caller")
    form = {
        "CallSid": "CA1",
        "To": NUMBER,
        "From": old_spelling,
        "CallStatus": "in-progress",
        "DialCallStatus": "failed",
    }
    for again in (carrier.post(path, **form), carrier.get(path, **form)):
        assert (said(again), rung(again)) == ("", [COMPANY_LINE])
        assert f'callerId="{NUMBER}"' in again.text


def test_r10_a_colleague_at_the_telephone_system_that_calls_are_forwarded_to_is_put_through(
    server: Server, client: FlaskClient, clock: Any
) -> None:
    with server.database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER], destinations=["sip:+14155550100@pbx.example.com"])
    answer = CarrierClient(client, server).dial(NUMBER, "+14155550100")
    assert said(answer).endswith("You are put through now.")
    assert ElementTree.fromstring(answer.text).findtext("Dial/Sip") == "sip:+14155550100@pbx.example.com"
    assert calls(server)[0].kind == INTERNAL


def test_r10_the_only_destination_hears_what_happened_and_not_that_nobody_can_be_reached(
    shop: Server, carrier: CarrierClient
) -> None:
    answer = carrier.dial(PRINTED, OTHER_LINE)
    assert said(answer) == (
        f"{TEST_CALL} in the scenario Billboard. Calls to this number count for billboard, print, A7."
        " Visitors are connected to this telephone, so nobody else is rung. Goodbye."
    )
    assert rung(answer) == []
    assert ElementTree.fromstring(answer.text).find("Hangup") is not None
    carrier.status("completed", From=OTHER_LINE, To=PRINTED, CallDuration=14)
    (call,) = calls(shop)
    assert (call.kind, call.status, call.destination, call.talk_seconds) == (INTERNAL, "failed", "", 0)


def test_r10_the_fallback_line_and_the_lines_of_other_scenarios_are_own_telephones(
    shop: Server, carrier: CarrierClient
) -> None:
    for sid, (number, caller, line) in enumerate(
        [(NUMBER, FALLBACK, COMPANY_LINE), (NUMBER, OTHER_LINE, COMPANY_LINE), (PRINTED, SECOND_LINE, OTHER_LINE)]
    ):
        answer = carrier.dial(number, caller, sid=f"CA{sid}")
        assert said(answer).endswith("You are put through now.")
        assert rung(answer) == [line]
    assert {call.kind for call in calls(shop)} == {INTERNAL}
    alone = carrier.dial(FREE, FALLBACK, sid="CA9")
    assert said(alone) == (
        f"{TEST_CALL} to a number that is in no scenario."
        " No visitor was shown this number in the last 30 days, so a call has no source."
        " Visitors are connected to this telephone, so nobody else is rung. Goodbye."
    )


def test_r10_a_switched_off_scenario_and_an_overflow_number_say_so(shop: Server, carrier: CarrierClient) -> None:
    assert "in the scenario Winter, which is switched off." in said(carrier.dial(OFF, COLLEAGUE, sid="CA1"))
    assert (
        "Visitors are shown this number when all others are taken, so a call has no source."
        in said(carrier.dial(OVERFLOW, COLLEAGUE, sid="CA2"))
    )  # fmt: skip


@pytest.mark.parametrize("caller", [ANNA, "anonymous", "", None, "+266696687", "+14155550145"])
def test_r10_everybody_else_is_put_through_without_a_word(
    shop: Server, carrier: CarrierClient, caller: str | None
) -> None:
    answer = carrier.dial(NUMBER, caller)
    assert said(answer) == ""
    assert rung(answer) == [COMPANY_LINE]
    assert calls(shop)[0].kind == EXTERNAL


def test_the_same_request_twice_gives_the_same_words_whatever_was_changed_meanwhile(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any
) -> None:
    visit(client)
    first = carrier.dial(NUMBER, COLLEAGUE).data
    clock.shift(timedelta(minutes=3))
    with shop.database.writing() as session:
        session.execute(text("UPDATE scenario SET title = 'Another', call_flow_id = NULL"))
        session.execute(text("UPDATE project SET own_numbers = '[]', destination_numbers = '[]'"))
    visit(client, "utm_source=mail")
    assert carrier.dial(NUMBER, COLLEAGUE).data == first
    form = {"CallSid": "CA1", "AccountSid": "AC1", "From": COLLEAGUE, "To": NUMBER, "CallStatus": "ringing"}
    assert carrier.get("/voice/inbound", **form).data == first
    step = carrier.post(carrier.next["CA1", 1], CallSid="CA1", To=NUMBER, From=COLLEAGUE, DialCallStatus="busy")
    assert (said(step), rung(step)) == ("", [SECOND_LINE])
    assert len(calls(shop)) == 1


class NoDisk:
    def append(self, record: Any) -> None:
        raise JournalError("No space left on device")


def test_a_call_that_could_not_be_written_is_connected_without_a_claim_that_it_was(
    shop: Server, carrier: CarrierClient
) -> None:
    with shop.database.writing() as session:
        session.execute(text("ALTER TABLE call RENAME TO call_of_old"))
    shop.journal = NoDisk()
    answer = carrier.dial(NUMBER, COLLEAGUE)
    assert (said(answer), rung(answer)) == ("", [COMPANY_LINE])


def test_a_test_call_that_became_known_when_it_was_over_heard_nothing_of_us(
    shop: Server, carrier: CarrierClient, clock: Any
) -> None:
    carrier.status("completed", From=COLLEAGUE, To=NUMBER, CallDuration=0)
    clock.shift(timedelta(minutes=1))
    adopt_unknown_calls(shop, shop.now())
    (call,) = calls(shop)
    assert (call.kind, call.status) == (INTERNAL, "abandoned")
    assert "announcement" not in call.flow
    words = said(carrier.dial(NUMBER, COLLEAGUE))
    (call,) = calls(shop)
    assert call.flow["announcement"] == words != "", "what its page says stays true, should the carrier still ask"


def test_a_call_from_an_own_telephone_asks_the_database_no_more_than_another(
    shop: Server, carrier: CarrierClient
) -> None:
    carrier.dial(NUMBER, ANNA, sid="CA0")
    with count_statements(shop.database) as external:
        carrier.dial(NUMBER, "+14155550188", sid="CA1")
    with count_statements(shop.database) as internal:
        carrier.dial(NUMBER, COLLEAGUE, sid="CA2")
    assert len(internal) <= len(external) + 1, "who is told about internal calls is asked for when one comes"


def test_an_own_telephone_that_is_typed_later_changes_no_earlier_call(
    shop: Server, carrier: CarrierClient, clock: Any
) -> None:
    carrier.dial(PRINTED, ANNA, sid="CA1")
    with shop.database.writing() as session:
        session.scalars(select(Project)).one().own_numbers = [{"number": ANNA, "remark": ""}]
    carrier.dial(PRINTED, ANNA, sid="CA2")
    assert [(call.kind, call.first_call) for call in calls(shop)] == [(EXTERNAL, True), (INTERNAL, False)]
    late = {"From": ANNA, "To": PRINTED, "CallDuration": 600}
    carrier.status("completed", sid="CA0", **late)
    clock.shift(timedelta(minutes=1))
    adopt_unknown_calls(shop, shop.now())
    kinds = {call.sid: (call.kind, call.first_call) for call in calls(shop)}
    assert kinds == {"CA0": (INTERNAL, False), "CA1": (EXTERNAL, True), "CA2": (INTERNAL, False)}


def test_r7_an_internal_call_is_decided_as_a_newcomers_and_is_nobodys_earlier_call(
    shop: Server, carrier: CarrierClient, client: FlaskClient, clock: Any
) -> None:
    """Bob called as a customer, became a colleague, and left."""

    def own(numbers: list[dict[str, str]]) -> None:
        with shop.database.writing() as session:
            session.scalars(select(Project)).one().own_numbers = numbers

    own([])
    visit(client, "utm_source=mail")
    carrier.dial(NUMBER, COLLEAGUE, sid="CA1")
    own(OWN)
    clock.shift(timedelta(days=2))
    visit(client)
    carrier.dial(NUMBER, COLLEAGUE, sid="CA2")
    own([])
    clock.shift(timedelta(days=2))
    carrier.dial(NUMBER, COLLEAGUE, sid="CA3")
    first, test, later = calls(shop)
    sources = [call.source["source"] for call in (first, test, later) if call.source]
    assert sources == ["mail", "google", "mail"]
    assert [call.rule for call in (first, test, later)] == ["lease", "lease", "repeat"]
    assert [call.first_call for call in (first, test, later)] == [True, False, False]
    assert test.decision["steps"][0] == {"rule": "repeat", "applies": False, "because": "internal"}
    assert later.decision["steps"][0]["first_call_id"] == first.id


def test_r7_a_test_call_before_the_first_real_one_takes_nothing_from_it(shop: Server, carrier: CarrierClient) -> None:
    carrier.dial(PRINTED, COLLEAGUE, sid="CA1")
    with shop.database.writing() as session:
        session.scalars(select(Project)).one().own_numbers = []
    carrier.dial(PRINTED, COLLEAGUE, sid="CA2")
    test, real = calls(shop)
    assert (test.kind, real.kind, real.first_call, real.rule) == (INTERNAL, EXTERNAL, True, "static")


TOLD = {
    "nobody": set(),
    "webhooks": {("webhook_start", "call.started"), ("webhook_end", "call.ended")},
    "all": {
        ("webhook_start", "call.started"), ("webhook_end", "call.ended"), ("ga4", "call.ended"), ("crm", "call.ended"),
    },
}  # fmt: skip


def told_of(shop: Server, sid: str) -> set[tuple[str, str]]:
    with shop.database.reading() as session:
        rows = (
            select(Integration.slot, Delivery.event)
            .join(Delivery, Delivery.integration_id == Integration.id)
            .join(Call, Call.id == Delivery.call_id)
        )
        return {(row.slot, row.event) for row in session.execute(rows.where(Call.sid == sid))}


@pytest.mark.parametrize("switch", TOLD)
def test_r10_nobody_is_told_of_an_internal_call_unless_the_switch_says_so(
    shop: Server, carrier: CarrierClient, switch: str
) -> None:
    with shop.database.writing() as session:
        session.scalars(select(Project)).one().tell_internal = switch
    for sid, caller in (("CA1", COLLEAGUE), ("CA2", ANNA)):
        carrier.dial(NUMBER, caller, sid=sid)
        carrier.action(NUMBER, 1, "canceled", sid=sid, From=caller)
        carrier.status("completed", sid=sid, From=caller, To=NUMBER)
        carrier.leg("completed", f"CL-{sid}", sid, CallDuration="9")  # which came late
    updated = {("crm", "call.updated")}
    assert told_of(shop, "CA1") == TOLD[switch] | (updated if switch == "all" else set())
    assert told_of(shop, "CA2") == TOLD["all"] | updated


def test_an_internal_call_keeps_its_events_like_any_other(shop: Server, carrier: CarrierClient) -> None:
    carrier.dial(NUMBER, COLLEAGUE)
    carrier.leg("ringing")
    carrier.leg("in-progress")
    carrier.leg("completed", CallDuration=12)
    (call,) = calls(shop)
    assert (call.status, call.talk_seconds, call.destination) == ("answered", 12, COMPANY_LINE)
    with shop.database.reading() as session:
        assert len(session.scalars(select(CallEvent)).all()) == 3


NUMBERS = st.sampled_from(
    [COLLEAGUE, ANNA, FALLBACK, *spellings_of_line(AGENCY), *spellings_of_line("+5491112345678"), "+551187654321",
     "+5511987654321"]
)  # fmt: skip


@given(NUMBERS, st.lists(NUMBERS, max_size=4), st.lists(NUMBERS, max_size=3), NUMBERS)
def test_a_caller_is_internal_if_and_only_if_his_line_is_one_of_the_own_ones(
    caller: str, typed: list[str], destinations: list[str], fallback: str
) -> None:
    own = own_lines(fallback, [{"number": number, "remark": ""} for number in typed], destinations)
    lines = {line_of(number) for number in (*typed, *destinations, fallback)}
    expected = INTERNAL if line_of(caller) in lines else EXTERNAL
    assert kind_of(Caller(caller, caller), own) == expected
    for spelling in spellings_of_line(caller):
        assert kind_of(read_caller(spelling), own) == expected


@given(st.sampled_from(["anonymous", "", "private", "+266696687", "client:anna", "sip:101@pbx"]), st.lists(NUMBERS))
def test_a_withheld_caller_is_nobodys_telephone(raw: str, typed: list[str]) -> None:
    assert kind_of(read_caller(raw), lines_of([*typed, raw])) == EXTERNAL


def test_the_number_in_a_sip_destination_is_an_own_telephone() -> None:
    lines = lines_of(["sip:+14155550100@pbx.example.com", "sip:sales@pbx.example.com", ""])
    assert lines == {"+14155550100"}


HOSTILE = st.text(max_size=90)


@given(HOSTILE | st.none(), st.booleans(), HOSTILE, st.integers(0, 40_000_000), st.booleans(), st.booleans())
def test_whatever_titles_and_sources_hold_the_words_are_a_document(
    title: str | None, enabled: bool, source: str, seconds: int, rings: bool, is_line: bool
) -> None:
    decided = {
        "rule": "lease", "source": {"source": source, "medium": "none", "campaign": source}, "source_confidence": 0.5,
        "candidates": [{"visit": 10001, "leased_at": (NOON - timedelta(seconds=seconds)).isoformat()}],
    }  # fmt: skip
    words = announcement(title, enabled, decided, NOON, rings, is_line)
    assert len(words) < 600
    spoken = ElementTree.fromstring(render((Say(words),))).findtext("Say")
    assert spoken is not None
    assert spoken.startswith("This is a test call")
    assert "50 percent sure" in spoken


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "1 second"), (40, "40 seconds"), (119, "119 seconds"), (120, "2 minutes"), (3600, "60 minutes"),
     (7200, "2 hours"), (172_800, "2 days"), (2_592_000, "30 days")],
)  # fmt: skip
def test_times_are_said_in_whole_units(seconds: int, words: str) -> None:
    decided = {
        "rule": "lease", "source": {"source": "direct", "medium": "none", "campaign": ""}, "source_confidence": 0.93,
        "candidates": [{"visit": 10017, "leased_at": (NOON - timedelta(seconds=seconds)).isoformat()}],
    }  # fmt: skip
    assert (
        f"would count for direct, 93 percent sure: visit 10017 was shown this number {words} ago."
        in announcement("Main line", True, decided, NOON, True, False)
    )  # fmt: skip


def test_base_is_the_address_that_the_steps_go_on_at(shop: Server, carrier: CarrierClient) -> None:
    dial = ElementTree.fromstring(carrier.dial(NUMBER, COLLEAGUE).text).find("Dial")
    assert dial is not None
    assert dial.attrib["action"].startswith(f"{BASE}/voice/dial/CA1/1")
    assert dial.attrib["callerId"] == COLLEAGUE


def test_r13_a_call_history_knows_the_own_telephones_too(
    shop: Server, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, carrier: CarrierClient
) -> None:
    monkeypatch.setattr("router.cli.open_server", lambda: make_server(settings))
    history = tmp_path / "calls.csv"
    rows = [f"{NUMBER},{caller},2026-03-0{day}T10:00:00Z,mail" for day in (1, 2) for caller in (COLLEAGUE, ANNA)]
    history.write_text("\n".join(["number,caller,started_at,source", *rows]))
    done = CliRunner().invoke(router, ["import-calls", str(history), "--project", "1"])
    assert done.exit_code == 0, done.output
    carrier.dial(NUMBER, COLLEAGUE, sid="CA1")
    carrier.dial(NUMBER, ANNA, sid="CA2")
    found = [(call.caller, call.kind, call.rule, call.first_call) for call in calls(shop)]
    assert sorted(found, key=str) == sorted(
        [
            (COLLEAGUE, INTERNAL, "imported", False), (COLLEAGUE, INTERNAL, "imported", False),
            (ANNA, EXTERNAL, "imported", True), (ANNA, EXTERNAL, "imported", False),
            (COLLEAGUE, INTERNAL, "none", False), (ANNA, EXTERNAL, "repeat", False),
        ],
        key=str,
    )  # fmt: skip
