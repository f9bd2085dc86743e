"""R10: who is blocked is not put through, is listed apart, and counts nowhere; one caller holds no more than a few calls at a time."""

from collections import Counter
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from router.accounts.cli import CONSOLE
from router.accounts.models import AuditEntry, Mail, Person, Project
from router.carriers.base import InboundCall
from router.integrations.models import Delivery, Integration
from router.lib.phones import BadPhone, Caller, international, national, read_caller, spellings_of_line
from router.server import Server
from router.voice import following
from router.voice.applier import journal_folder
from router.voice.blocking.open_calls import FORGET_AFTER, OpenCalls
from router.voice.blocking.rules import Blocked, CallGuard, parse_pattern
from router.voice.blocking.service import FEWEST_CALLS, WINDOW, PastCall, guess_robocaller, guess_robocalls
from router.voice.following import RoutingFollower, routing_of
from router.voice.forgetting import forget_caller
from router.voice.journal import Journal
from router.voice.models import BLOCKED, EXTERNAL, BlockedCaller, Call, ForgottenCaller
from router.voice.snapshot import SnapshotRefused
from tests.counting import count_statements
from tests.factories import (
    NOON,
    make_blocked_caller,
    make_call,
    make_integration,
    make_number,
    make_token,
)
from tests.people import bearer, sign_in
from tests.properties import examples
from tests.voice.carrier import ANNA, CarrierClient
from tests.voice.shops import COLLEAGUE, NUMBER, OTHER, make_shop


@pytest.fixture
def shop(server: Server, clock: Any) -> Server:
    with server.database.writing() as session:
        project, main = make_shop(session)
        make_number(session, project, OTHER)
        for slot, kind in (("webhook_start", "webhook"), ("webhook_end", "webhook"), ("ga4", "ga4"), ("crm", "odoo")):
            make_integration(session, main, slot, kind)
    return server


def settle(server: Server, *patterns: str, **columns: Any) -> None:
    """What is blocked, as the service leaves it."""
    with server.database.writing() as session:
        project = session.scalars(select(Project)).one()
        for pattern in patterns:
            make_blocked_caller(session, project, pattern)
        session.execute(update(Project).values(**columns, list_version=Project.list_version + 1))


def heard(answer: TestResponse) -> str:
    """The verbs of a document, with what a rejection says."""
    assert (answer.status_code, answer.mimetype) == (200, "text/xml")
    return " ".join(" ".join([verb.tag, *verb.attrib.values()]) for verb in ElementTree.fromstring(answer.text)).split(
        " http"
    )[0]


def calls(server: Server) -> list[Call]:
    with server.database.reading() as session:
        return list(session.scalars(select(Call).order_by(Call.id)))


def call_from(raw: str, **fields: Any) -> InboundCall:
    return InboundCall("CA1", "AC1", read_caller(raw, "US"), NUMBER, NUMBER, **fields)


@pytest.mark.parametrize(
    ("typed", "country", "pattern"),
    [
        ("+49 30 7664398", "", "+49307664398"),
        ("030 / 7664398", "DE", "+49307664398"),
        ("+52 1 55 1234 5678", "", "+525512345678"),
        ("+49 (0)30 *", "", "+4930*"),
        ("030*", "DE", "+4930*"),
        ("0900-*", "DE", "+49900*"),
        ("415 555 *", "US", "+1415555*"),
        ("06*", "IT", "+3906*"),
        ("0049 30 **", "US", "+4930*"),
        ("+882*", "", "+882*"),
        ("*0000", "", "*0000"),
        ("*123*", "", "*123*"),
        ("SIP:*@Spam.Example", "", "sip:*@spam.example"),
        ("+8834567890123", "", "+8834567890123"),
    ],
)
def test_a_number_is_typed_in_any_spelling_and_a_star_stands_for_any_digits(
    typed: str, country: str, pattern: str
) -> None:
    assert parse_pattern(typed, country) == pattern
    assert parse_pattern(pattern, country) == pattern


@pytest.mark.parametrize(
    "typed", ["", "*", "+*", "+*1", "*12", "030*", "Anna", "+49 30 x*", "sip:*@*", "sip:", "1" * 40 + "*"]
)
def test_what_is_no_number_or_about_nearly_everybody_is_refused(typed: str) -> None:
    with pytest.raises(BadPhone):
        parse_pattern(typed, "")


LINES = ["+493012345678", "+14155550199", "+525512345678", "+5511987654321", "+390612345678"]


@given(
    line=st.sampled_from(LINES),
    spelling=st.sampled_from([international, national, lambda e164: f" {e164[:5]}-{e164[5:]} "]),
)
def test_never_is_a_caller_put_through_who_is_on_the_list_in_any_spelling(line: str, spelling: Any) -> None:
    country = {"+49": "DE", "+14": "US", "+52": "MX", "+55": "BR", "+39": "IT"}[line[:3]]
    guard = CallGuard([parse_pattern(spelling(line), country)])
    for caller in (line, line.replace("+52", "+521"), line.replace("+55119", "+5511"), f"sip:{line}@trunk.example"):
        assert guard.why_blocked(call_from(caller)) is not None
    assert CallGuard(**guard.values) == guard


@pytest.mark.parametrize(
    ("pattern", "raw", "is_blocked"),
    [
        ("+4930*", "+493012345678", True),
        ("+4930*", "+4989123456", False),
        ("*0000", "+4989120000", True),
        ("*0000", "+4989120001", False),
        ("+1*5550", "+12125555550", True),
        ("*5555*", "+12125555550", True),
        ("*5556*", "+12125555550", False),
        ("+1*5*0", "+12125555550", True),
        ("+5215*", "+525512345678", True),
        ("sip:*@spam.example", "sip:anna@spam.example", True),
        ("sip:*@spam.example", "<sip:Anna@SPAM.example>", True),
        ("sip:*@spam.example", "sip:anna@example.com", False),
        ("*0000", "anonymous", False),
    ],
)
def test_a_pattern_is_about_whom_it_fits(pattern: str, raw: str, is_blocked: bool) -> None:
    assert CallGuard([pattern, "+4477*"]).why_blocked(call_from(raw)) == (
        Blocked("listed", pattern) if is_blocked else None
    )


@given(
    pattern=st.from_regex(r"\+?[0-9*]{3,8}", fullmatch=True).filter(lambda text: "*" in text),
    digits=st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True),
)
def test_a_star_is_always_any_digits(pattern: str, digits: str) -> None:
    """As shells take it, however many patterns the list has beside."""
    raw = f"+{digits}"
    fits = any(fnmatchcase(line, pattern) for line in spellings_of_line(raw))
    found = CallGuard([pattern, "+4477*", "*99887766", "sip:*@x.example"]).entry_of(Caller(raw, raw))
    assert bool(found) == (fits or raw.startswith("+4477") or raw.endswith("99887766"))


@pytest.mark.parametrize(
    ("columns", "given", "verbs", "because"),
    [
        ({"block_withheld": True}, {"caller": "anonymous"}, "Reject busy", "withheld"),
        ({"block_withheld": True}, {"caller": "+266696687"}, "Reject busy", "withheld"),
        ({"block_withheld": True}, {"caller": "sip:anonymous@anonymous.invalid"}, "Reject busy", "withheld"),
        (
            {"block_failed_verification": True, "blocked_answer": "not_in_service"},
            {"StirVerstat": "TN-Validation-Failed-C"},
            "Reject rejected",
            "failed_verification",
        ),
        ({"blocked_answer": "sentence", "blocked_sentence": "No & no."}, {"caller": "+88299"}, "Say Hangup", "listed"),
    ],
)
def test_r10_a_blocked_caller_hears_it_and_is_kept_as_blocked(
    shop: Server, carrier: CarrierClient, columns: Any, given: Any, verbs: str, because: str
) -> None:
    settle(shop, "+882*", **columns)
    answer = carrier.dial(NUMBER, **({"caller": "+8829900000000"} if given.get("caller") == "+88299" else given))
    assert heard(answer) == verbs
    (call,) = calls(shop)
    assert (call.kind, call.first_call, call.flow["blocked"]["because"]) == (BLOCKED, False, because)
    carrier.status("busy")
    (call,) = calls(shop)
    assert call.ended_at is not None
    with shop.database.reading() as session:
        assert session.scalars(select(Delivery)).all() == []


@pytest.mark.parametrize(
    ("columns", "form"),
    [
        ({}, {"caller": "anonymous"}),
        ({"block_withheld": True}, {}),
        ({"block_withheld": True}, {"caller": "sip:anna@pbx.example.com"}),
        ({"block_failed_verification": True}, {"StirVerstat": "TN-Validation-Passed-A"}),
        ({"block_failed_verification": True}, {"StirVerstat": "No-TN-Validation"}),
        ({}, {"StirVerstat": "TN-Validation-Failed"}),
        ({}, {"caller": COLLEAGUE}),
    ],
)
def test_r12_everybody_else_is_put_through(shop: Server, carrier: CarrierClient, columns: Any, form: Any) -> None:
    settle(shop, COLLEAGUE, **columns)
    assert "Dial" in heard(carrier.dial(NUMBER, **form))
    assert [call.kind == BLOCKED for call in calls(shop)] == [False]


@pytest.mark.parametrize(("told", "kinds"), [("webhooks", {"webhook"}), ("all", {"webhook", "ga4", "odoo"})])
def test_r10_blocked_calls_are_told_to_whom_the_project_wants_it(
    shop: Server, carrier: CarrierClient, told: str, kinds: set[str]
) -> None:
    settle(shop, ANNA, tell_blocked=told)
    carrier.dial(NUMBER)
    carrier.status("busy")
    with shop.database.reading() as session:
        told_to = Integration.id == Delivery.integration_id
        sent = session.scalars(select(Integration.kind).join(Delivery, told_to)).all()
    assert set(sent) == kinds


def test_r12_a_change_of_the_list_counts_for_the_next_call_and_the_fallback_keeps_to_it(
    shop: Server, carrier: CarrierClient
) -> None:
    assert "Dial" in heard(carrier.dial(NUMBER))
    settle(shop, ANNA)
    assert heard(carrier.dial(NUMBER, sid="CA2")) == "Reject busy"
    fallback = carrier.post("/voice/fallback", CallSid="CA3", From=ANNA, To=NUMBER, ErrorCode="11200")
    assert heard(fallback) == "Reject busy"
    assert "Dial" in heard(carrier.dial(NUMBER))  # the first call asks again, and goes on as it began
    assert [call.kind for call in calls(shop)] == [EXTERNAL, BLOCKED, BLOCKED]


def test_one_caller_holds_five_calls_and_no_more(shop: Server, carrier: CarrierClient) -> None:
    verbs = [heard(carrier.dial((NUMBER, OTHER)[turn % 2], sid=f"CA{turn}")).split()[0] for turn in range(20)]
    assert verbs == ["Dial"] * 5 + ["Reject"] * 15
    assert heard(carrier.dial(NUMBER, sid="CA0")).startswith("Dial"), "the same call asked again"
    assert heard(carrier.dial(NUMBER, "+14155550188", sid="CB1")).startswith("Dial"), "somebody else"
    assert heard(carrier.dial(NUMBER, "anonymous", sid="CB2")).startswith("Dial"), "nobody knows who"
    assert {call.flow["blocked"]["because"] for call in calls(shop) if call.kind == BLOCKED} == {"caller_limit"}
    carrier.status("completed", sid="CA0")
    assert heard(carrier.dial(NUMBER, sid="CB3")).startswith("Dial")


@pytest.mark.parametrize(
    "fault", [OperationalError("", {}, Exception("gone")), SnapshotRefused("of another installation")]
)
def test_r12_calls_whose_end_nobody_tells_block_their_caller_for_no_longer_than_minutes_while_no_state_can_be_read(
    shop: Server, carrier: CarrierClient, clock: Any, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """Their ends may be told to another machine, and only the database brings them here."""
    routing = routing_of(shop)
    assert "Dial" in heard(carrier.dial(NUMBER, sid="CA0"))
    routing.refresh()  # from now on the database knows it

    def refuse(*_: Any) -> Any:
        raise fault

    monkeypatch.setattr(following, "refresh", refuse)
    shop.journal = Journal(journal_folder(shop))
    for turn in range(1, 7):
        routing.refresh()
        clock.shift(20)
        assert heard(carrier.dial(NUMBER, sid=f"CA{turn}")).split()[0] == ("Dial" if turn <= 5 else "Reject")
    clock.shift(FORGET_AFTER)
    routing.refresh()
    assert heard(carrier.dial(NUMBER, sid="CA7")).startswith("Dial")


@pytest.mark.one_database
def test_whoever_hangs_up_may_call_again_before_the_database_knows_it(shop: Server, carrier: CarrierClient) -> None:
    settle(shop, calls_per_caller=1)
    dialled = (heard(carrier.dial(NUMBER, sid=f"CA{turn}")).split()[0] for turn in range(9))
    assert next(dialled) == "Dial"
    routing_of(shop).refresh()
    shop.journal = Journal(journal_folder(shop))  # from now on nothing is applied
    assert next(dialled) == "Reject"
    carrier.status("busy", sid="CA1", To=NUMBER)
    assert next(dialled) == "Reject", "the end of a call that was not put through frees nothing"
    for _ in range(2):
        carrier.status("completed", sid="CA0", To=NUMBER)
    assert next(dialled) == "Dial"
    assert next(dialled) == "Reject", "and one end frees one line, however often it is told"
    assert "Hangup" in heard(carrier.action(NUMBER, 1, "completed", sid="CA3"))
    assert next(dialled) == "Dial", "the carrier ends the call by our own answer"


@pytest.mark.one_database
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "apply", "end", "apply end", "look here", "look there"]), st.integers(0, 3)
        ),
        min_size=10,
        max_size=40,
    )
)
@example([("begin", 0), ("apply", 0), ("end", 0), ("look here", 0)])
@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_never_are_more_calls_counted_than_are_open(
    shop: Server, tmp_path_factory: pytest.TempPathFactory, happens: list[tuple[str, int]]
) -> None:
    """Of two processes, each of which looks every few seconds; and once both have looked at all that was applied, none is left out."""
    path = tmp_path_factory.mktemp("open") / "open-calls"
    here, there = OpenCalls(path), OpenCalls(path)
    stages: Counter[int] = Counter()
    with shop.database.writing() as session:
        project = session.scalars(select(Project)).one()

        def apply(call: int) -> None:
            make_call(session, project, sid=f"CA{call}", caller=ANNA, number_id=7, ended_at=None)

        def end(call: int) -> None:
            session.execute(update(Call).where(Call.sid == f"CA{call}").values(ended_at=NOON))

        acts = {
            ("begin", 0): lambda call: here.begin(f"CA{call}", project.id, ANNA, 7),
            ("apply", 1): apply,
            ("end", 2): lambda call: there.end(f"CA{call}", project.id, ANNA, 7),
            ("apply end", 3): end,
        }
        steps = [*happens, *((what, call) for what, _ in acts for call in range(4) if what != "end")]
        for what, call in [*steps, ("look here", 0), ("look there", 0)]:
            if what.startswith("look"):
                (here if what == "look here" else there).look(session, NOON)
            elif act := acts.get((what, stages[call])):
                act(call)
                stages[call] += 1
            amount = sum(stage in (1, 2) for stage in stages.values())
            assert all(count <= amount for each in (here, there) for count in counts_of(each, project.id))
        assert counts_of(here, project.id) == counts_of(there, project.id) == (amount, amount)
        session.rollback()


def counts_of(open_calls: OpenCalls, project_id: int) -> tuple[int, int]:
    return open_calls.of_caller(project_id, ANNA), open_calls.of_number(7)


def test_a_number_takes_so_many_calls_and_no_limit_is_none(shop: Server, carrier: CarrierClient) -> None:
    settle(shop, calls_per_number=3, calls_per_caller=0)
    assert [heard(carrier.dial(NUMBER, sid=f"CA{turn}")).split()[0] for turn in range(4)] == ["Dial"] * 3 + ["Reject"]
    assert heard(carrier.dial(OTHER, sid="CB1")).startswith("Dial")
    settle(shop, calls_per_number=0)
    assert heard(carrier.dial(NUMBER, sid="CB2")).startswith("Dial")


def test_calls_are_counted_only_where_they_are_answered_and_a_project_has_a_limit(
    shop: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many calls at once are costly to count each second."""
    looks: list[Any] = []
    monkeypatch.setattr(OpenCalls, "look", lambda *_: looks.append(1))
    web = RoutingFollower(shop.database, tmp_path, shop.keys, shop.now)
    monkeypatch.setattr(following, "POLL_SECONDS", 3600.0)
    web.start(counts_calls=False)
    web.refresh()
    web.stop(wait_seconds=10)
    assert not looks
    monkeypatch.undo()

    open_calls = OpenCalls(tmp_path / "open")
    for limits, asked in (
        ({"calls_per_caller": 0, "calls_per_number": 0}, 0),
        ({"calls_per_caller": 1}, 1),
        ({"calls_per_number": 1}, 2),
    ):
        settle(shop, **limits)
        with count_statements(shop.database) as statements, shop.database.reading() as session:
            open_calls.look(session, NOON)
        assert sum("FROM call" in statement for statement in statements) == asked


def test_the_processes_of_a_machine_count_together_before_anything_is_applied(shop: Server, tmp_path: Path) -> None:
    here, there = OpenCalls(tmp_path / "open"), OpenCalls(tmp_path / "open")
    for turn in range(3000):  # more than the file holds
        here.begin(f"CA{turn}", 1, ANNA, 7)
        there.end(f"CA{turn - 2}", 1, ANNA, 7)
    assert there.of_caller(1, ANNA) == here.of_number(7) == 2
    assert there.of_caller(2, ANNA) == 0
    with shop.database.writing() as session:
        make_call(
            session, session.scalars(select(Project)).one(), sid="CA2999", caller=ANNA, number_id=7, ended_at=None
        )
    with shop.database.reading() as session:
        there.look(session, NOON + timedelta(minutes=30))
    assert (there.of_caller(1, ANNA), here.of_caller(1, ANNA)) == (2, 1), "in doubt too few"
    with shop.database.reading() as session:
        there.look(session, NOON + timedelta(minutes=31))
    assert there.of_caller(1, ANNA) == 1, "its end may have been lost"
    there.forget()
    assert there.of_number(7) == 1
    with shop.database.writing() as session:
        session.execute(update(Call).values(ended_at=NOON))
        here.begin("CA2999", 1, ANNA, 7)
        here.look(session, NOON)
    assert here.of_number(7) == 1, "another machine was told its end"
    full = OpenCalls(tmp_path / "open" / "no folder")
    full.begin("CA1", 1, ANNA, 7)
    assert full.of_caller(1, ANNA) == 1


def silent(count: int = FEWEST_CALLS, **fields: Any) -> list[PastCall]:
    values: dict[str, Any] = {"status": "answered", "talk_seconds": 3} | fields
    return [PastCall(NOON - timedelta(minutes=turn), **values) for turn in range(count)]


@pytest.mark.parametrize(
    ("past", "is_guessed"),
    [
        (silent(), True),
        (silent(status="abandoned", ring_seconds=2, talk_seconds=0), True),
        (silent(FEWEST_CALLS - 1), False),
        (silent(talk_seconds=6), False),
        ([*silent(30), *silent(1, talk_seconds=60)], False),
        (silent(status="busy"), False),
        (silent(status="missed"), False),
        (silent(status="abandoned", ring_seconds=20, talk_seconds=0), False),
        ([*silent(), PastCall(NOON - WINDOW * 30, "answered", talk_seconds=2, has_source=True)], False),
        ([*silent(), PastCall(NOON - WINDOW * 30, "answered", talk_seconds=2)], True),
        ([*silent(), PastCall(NOON - WINDOW * 30, "answered", kind="internal")], False),
        (silent(has_source=True), True),
    ],
)
def test_who_calls_again_and_again_and_says_nothing_is_a_machine(past: list[PastCall], is_guessed: bool) -> None:
    assert bool(guess_robocaller(past, NOON)) == is_guessed


@given(
    past=st.lists(
        st.builds(
            PastCall,
            st.datetimes(NOON.replace(tzinfo=None) - WINDOW, NOON.replace(tzinfo=None)).map(
                lambda at: at.replace(tzinfo=NOON.tzinfo)
            ),
            st.sampled_from(["answered", "abandoned", "missed", "busy", "voicemail"]),
            st.just(EXTERNAL),
            st.integers(0, 20),
            st.integers(0, 20),
        ),
        min_size=FEWEST_CALLS,
        max_size=FEWEST_CALLS + 5,
    )
)
def test_never_is_somebody_guessed_who_talked_or_did_not_get_through(past: list[PastCall]) -> None:
    if guess_robocaller(past, NOON):
        assert all(call.status in ("answered", "abandoned") for call in past)
        assert all((call.talk_seconds or 0) <= 5 for call in past if call.status == "answered")


def test_a_guess_is_told_and_can_be_taken_back_for_good(shop: Server, client: FlaskClient) -> None:
    with shop.database.writing() as session:
        project = session.scalars(select(Project)).one()
        for turn in range(12):
            for caller in (ANNA, COLLEAGUE):
                make_call(
                    session,
                    project,
                    NUMBER,
                    NOON - timedelta(minutes=turn),
                    caller=caller,
                    talk_seconds=1,
                    sid=f"{caller}{turn}",
                )
        token = make_token(session, project)[1]
    assert guess_robocalls(shop, NOON) == 1
    assert guess_robocalls(shop, NOON) == 0
    with shop.database.reading() as session:
        (entry,) = session.scalars(select(BlockedCaller))
        (mail,) = session.scalars(select(Mail))
        assert session.scalars(select(AuditEntry.actor)).all() == ["worker"]
    assert (entry.pattern, entry.is_guess) == (ANNA, True)
    assert entry.reason == "12 calls within 11 minutes, none of which was longer than 1 s"
    assert "take it back" in mail.body
    there = f"/api/v1/projects/{entry.project_id}/blocked-callers"
    assert client.delete(f"{there}/{entry.id}", headers=bearer(token)).status_code == 204
    assert guess_robocalls(shop, NOON) == 0
    carrier = CarrierClient(client, shop)
    assert "Dial" in heard(carrier.dial(NUMBER))
    again = client.post(there, json={"pattern": ANNA, "reason": "all the same"}, headers=bearer(token)).get_json()
    assert (again["id"], again["is_guess"], again["taken_back_at"]) == (entry.id, False, None)
    assert heard(carrier.dial(NUMBER, sid="CA2")) == "Reject busy"


def test_programs_and_people_keep_the_list(shop: Server, client: FlaskClient) -> None:
    with shop.database.writing() as session:
        project = session.scalars(select(Project)).one()
        token, viewer = make_token(session, project)[1], make_token(session, project, "viewer")[1]
        call, person = make_call(session, project, NUMBER, caller=ANNA), session.scalars(select(Person)).one()
    there = f"/api/v1/projects/{project.id}/blocked-callers"
    assert client.post(there, json={"pattern": "030*"}, headers=bearer(viewer)).status_code == 403
    refused = client.post(there, json={"pattern": "*"}, headers=bearer(token))
    assert (refused.status_code, refused.get_json()["field"]) == (422, "pattern")
    own = client.post(there, json={"pattern": COLLEAGUE}, headers=bearer(token))
    assert "own telephones" in own.get_json()["detail"]
    made = client.post(there, json={"pattern": "(415) 555-*", "reason": "ads"}, headers=bearer(token))
    assert (made.status_code, made.get_json()["pattern"]) == (201, "+1415555*")
    assert client.post(there, json={"pattern": "+1 415 555 *"}, headers=bearer(token)).status_code == 409
    assert [entry["reason"] for entry in client.get(there, headers=bearer(viewer)).get_json()["items"]] == ["ads"]
    sign_in(client, person)
    page = client.post(f"/settings/blocked/calls/{call.id}", follow_redirects=True)
    assert "not put through any more" in page.text
    listed = client.get("/settings/blocked").text
    assert international(ANNA) in listed
    refused_page = client.post("/settings/blocked/entries", data={"pattern": "*", "reason": "all"})
    assert refused_page.status_code == 422
    assert "nearly everybody" in refused_page.text


def test_blocked_calls_are_listed_apart(shop: Server, carrier: CarrierClient, client: FlaskClient) -> None:
    settle(shop, ANNA)
    carrier.dial(NUMBER)
    carrier.dial(NUMBER, "+14155550188", sid="CA2")
    with shop.database.writing() as session:
        project = session.scalars(select(Project)).one()
        token, person = make_token(session, project)[1], session.scalars(select(Person)).one()
    there = f"/api/v1/projects/{project.id}/calls"
    listed = {
        kind: [call["sid"] for call in client.get(f"{there}{kind}", headers=bearer(token)).get_json()["items"]]
        for kind in ("", "?kind=blocked", "?kind=external", "?kind=internal")
    }
    assert listed == {"": ["CA2"], "?kind=blocked": ["CA1"], "?kind=external": ["CA2"], "?kind=internal": []}
    carrier.status("busy")
    (told,) = client.get(f"{there}?kind=blocked", headers=bearer(token)).get_json()["items"]
    assert told["blocked"] == {"because": "listed", "pattern": "", "answer": "busy"}
    assert (told["kind"], told["status"]) == ("blocked", "failed")
    assert client.get(f"{there}?kind=external", headers=bearer(token)).get_json()["items"][0]["blocked"] is None
    sign_in(client, person)
    (blocked, _) = calls(shop)
    receipt = client.get(f"/calls/{blocked.id}").text
    assert "the caller was on the list of blocked callers" in receipt
    listed_apart = client.get("/calls?kind=blocked").text.partition("<table")[2]
    assert "failed" not in receipt + listed_apart
    assert "on the list of blocked callers" in listed_apart
    assert "Block this caller" not in receipt


def test_r14_a_forgotten_caller_leaves_the_list(shop: Server) -> None:
    settle(shop, ANNA)
    with shop.database.writing() as session:
        project = session.scalars(select(Project)).one()
        forget_caller(shop, session, project, ANNA, CONSOLE, NOON)
        assert session.scalars(select(BlockedCaller)).all() == []
        assert session.scalars(select(ForgottenCaller)).one()
    assert routing_of(shop).find_route(call_from(ANNA)).guard.why_blocked(call_from(ANNA)) is None  # type: ignore[union-attr]  # it is ours
