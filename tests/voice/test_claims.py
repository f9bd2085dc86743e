"""An account of a project speaks of calls of that project alone: whoever knows the id of another project's call changes nothing of it."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, select

from router.carriers.base import InboundCall
from router.lib.phones import read_caller
from router.server import Server
from router.voice.answers import account_sign
from router.voice.applier import Applier, adopt_unknown_calls
from router.voice.first_answers import FirstAnswers
from router.voice.following import routing_of
from router.voice.journal import Journal
from router.voice.models import Call, CallEvent, CallLeg, CallRecording, SetAsideRecord, TextMessage, UnknownCall
from router.voice.recordings import GOING, recordings_of
from router.voice.repair import retry_set_aside
from tests.carriers.test_accounts import ELSEWHERE, SID, TOKEN, Shops, give_account
from tests.factories import COMPANY_LINE, NOON, NUMBER
from tests.voice.carrier import ANNA, BASE
from tests.voice.journals import calls, count, stored

VICTIM = "CA0the0victims0call"
LEG, FORGED_LEG = "CL0victim", "CL0forged"
B_SID, B_TOKEN = "AC" + "b" * 32, "the-token-of-b"
FILE = "https://api.twilio.com/r"
FORGED: dict[str, tuple[str, dict[str, str]]] = {
    "status": ("/voice/status", {"To": NUMBER, "CallStatus": "failed"}),
    "leg": (f"/voice/leg/{VICTIM}", {"CallSid": FORGED_LEG, "ParentCallSid": VICTIM, "CallStatus": "completed"}),
    "machine": (f"/voice/machine/{VICTIM}", {"CallSid": LEG, "AnsweredBy": "machine_start"}),
    "recording": ("/voice/recording", {"RecordingSid": "RE0forged", "RecordingUrl": FILE, "RecordingDuration": "9"}),
    "whisper": (f"/voice/whisper/{VICTIM}/s1.0?number=%2B14155550100", {"CallSid": FORGED_LEG, "Digits": "1"}),
    "dial": (f"/voice/dial/{VICTIM}/2", {"To": NUMBER, "DialCallStatus": "completed", "DialBridged": "true"}),
    "gather": (f"/voice/gather/{VICTIM}/s1.1", {"To": NUMBER, "Digits": "7"}),
    "message": (
        f"/voice/gather/{VICTIM}/s1.2",
        {"To": NUMBER, "RecordingSid": "RE0forged", "RecordingUrl": FILE, "RecordingDuration": "9"},
    ),
    "inbound": ("/voice/inbound", {"To": NUMBER}),
    "fallback": ("/voice/fallback", {"To": NUMBER, "ErrorCode": "11200"}),
}
TELLING = ("status", "leg", "machine", "recording")


class Companies(Shops):
    """The first company has an account of its own, and knows the id of a call of the other."""

    def __init__(self, client: FlaskClient, server: Server, folder: Path) -> None:
        super().__init__(client, server)
        self.folder = folder
        self.machine = 0
        self.journals: list[Path] = []

    def use_machine(self) -> Path:
        """Another machine answers from now on; its journal is applied when a test says so."""
        self.machine += 1
        folder = self.folder / str(self.machine)
        self.server.journal = Journal(folder, 2**20, durable=False)
        self.server.first_answers = FirstAnswers(folder / "first-answers")
        return folder

    def apply(self, folder: Path) -> None:
        Applier(self.server, folder, resident=False).apply_all()

    def talk(self, token: str = "", sid: str = "AC1") -> None:
        """The other company's call, from its beginning to its end."""
        token = token or self.server.settings.twilio_auth_token
        of_call = {"CallSid": VICTIM, "AccountSid": sid, "To": ELSEWHERE}
        document = self.ask("/voice/inbound", token, **of_call).text
        address, action = (
            document.split(f'{name}="{BASE}')[1].split("#")[0].replace("&amp;", "&")
            for name in ("statusCallback", "action")
        )
        leg = {"CallSid": LEG, "ParentCallSid": VICTIM, "AccountSid": sid, "To": COMPANY_LINE}
        for status in ("ringing", "in-progress", "completed"):
            more = {"CallDuration": "40"} if status == "completed" else {}
            assert self.status_of(address, token, **leg, CallStatus=status, **more) == 204
        ended = {"DialCallStatus": "completed", "DialBridged": "true", "DialCallSid": LEG, "DialCallDuration": "40"}
        assert self.status_of(action, token, **of_call, **ended) == 200
        assert self.status_of("/voice/status", token, **of_call, CallStatus="completed", CallDuration="40") == 204

    def forge(self, kind: str) -> Any:
        """A request about the other company's call that the first one signs itself, with all that it can know."""
        path, form = FORGED[kind]
        call = InboundCall(VICTIM, SID, read_caller(ANNA), NUMBER, NUMBER)
        tie = account_sign(self.server, routing_of(self.server).find_route(call), call)
        if kind in ("leg", "machine", "recording", "whisper"):
            path += f"{'&' if '?' in path else '?'}account={tie}"
        return self.ask(path, TOKEN, **{"CallSid": VICTIM} | form)

    def story(self) -> tuple[Any, ...]:
        """All that is stored of the call."""
        call = calls(self.server)[VICTIM]
        with self.server.database.reading() as session:
            events = session.scalars(select(CallEvent).where(CallEvent.call_sid == VICTIM))
            told = sorted((event.key, event.kind, event.at) for event in events)
            legs = session.scalars(select(CallLeg.sid).where(CallLeg.call_sid == VICTIM)).all()
            recordings = [recording.sid for recording in recordings_of(session, [call])[VICTIM]]
            heard = session.scalars(select(CallRecording.id).where(CallRecording.state.not_in(GOING))).all()
        return call.project_id, stored(call), told, legs, recordings, heard


@pytest.fixture
def companies(client: FlaskClient, server: Server, tmp_path: Path, clock: Any) -> Companies:
    return Companies(client, server, tmp_path / "machines")


def test_a_forged_request_is_set_aside_where_the_call_is_known(companies: Companies, clock: Any) -> None:
    first = companies.use_machine()
    companies.talk()
    companies.apply(first)
    before = companies.story()
    other = companies.use_machine()
    clock.shift(timedelta(seconds=1))
    for number, kind in enumerate(FORGED, 1):
        assert companies.forge(kind).status_code in (200, 204), kind
        companies.apply(other)
        assert companies.story() == before, kind
        with companies.server.database.reading() as session:
            aside = session.scalars(select(SetAsideRecord).order_by(SetAsideRecord.id)).all()
        assert len(aside) == number, kind
        assert (aside[-1].call_sid, f"account of project {companies.project.id}" in aside[-1].reason) == (VICTIM, True)
    assert retry_set_aside(companies.server, companies.server.now()) == (0, len(FORGED))
    assert companies.story() == before


@pytest.mark.parametrize("owns", [False, True], ids=["at the server's account", "at its own"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_forged_requests_change_nothing_in_whichever_order_journals_are_applied(
    companies: Companies, clock: Any, order: tuple[int, int], owns: bool
) -> None:
    account = {"token": B_TOKEN, "sid": B_SID} if owns else {}
    if owns:
        give_account(companies.server, companies.other, B_SID, B_TOKEN)
    first = companies.use_machine()
    companies.talk(**account)
    companies.apply(first)
    truth = companies.story()
    with companies.server.database.writing() as session:
        for model in (Call, CallEvent, UnknownCall):
            session.execute(delete(model))
    journals = [companies.use_machine()]
    companies.talk(**account)
    journals.append(companies.use_machine())
    clock.shift(timedelta(seconds=1))
    for kind in FORGED:
        assert companies.forge(kind).status_code in (200, 204), kind
    clock.move_to(NOON)
    for machine in order:
        companies.apply(journals[machine])
    assert companies.story() == truth


def test_events_of_a_projects_own_account_that_come_before_their_call_are_its_events(companies: Companies) -> None:
    give_account(companies.server, companies.other, B_SID, B_TOKEN)
    first = companies.use_machine()
    companies.talk(B_TOKEN, B_SID)
    companies.apply(first)
    truth = companies.story()
    journal = companies.use_machine()
    companies.talk(B_TOKEN, B_SID)
    records = [line for line in (journal / "0000000001.journal").read_bytes().splitlines(keepends=True) if line.strip()]
    with companies.server.database.writing() as session:
        for model in (Call, CallEvent, UnknownCall):
            session.execute(delete(model))
    for place, lines in enumerate((records[1:], records[:1], records)):
        folder = companies.folder / f"again-{place}"
        folder.mkdir(parents=True)
        (folder / "0000000001.journal").write_bytes(b"".join(lines))
        companies.apply(folder)
    assert companies.story() == truth
    assert count(companies.server, SetAsideRecord) == 0


def test_a_call_that_is_written_from_its_events_alone_heeds_no_forged_ones(companies: Companies, clock: Any) -> None:
    give_account(companies.server, companies.other, B_SID, B_TOKEN)
    other = companies.use_machine()
    of_call = {"CallSid": VICTIM, "AccountSid": B_SID, "To": ELSEWHERE}
    assert companies.status_of("/voice/status", B_TOKEN, **of_call, CallStatus="completed", CallDuration="40") == 204
    for kind in TELLING:
        assert companies.forge(kind).status_code == 204
    companies.apply(other)
    clock.shift(timedelta(minutes=5))
    assert adopt_unknown_calls(companies.server, companies.server.now()) == 1
    call = calls(companies.server)[VICTIM]
    assert (call.project_id, call.status, call.talk_seconds) == (companies.other.id, "answered", 40)
    assert call.started_at == NOON - timedelta(seconds=40)
    assert count(companies.server, CallEvent) == 1


@pytest.mark.one_database
def test_a_machine_that_knows_whose_call_it_is_refuses_what_tells_of_it_and_answers_what_asks_by_its_own_number(
    companies: Companies,
) -> None:
    companies.use_machine()
    companies.talk()
    answers = {kind: companies.forge(kind) for kind in FORGED}
    assert {kind: answer.status_code for kind, answer in answers.items()} == {
        kind: 403 if kind in TELLING else 200 for kind in FORGED
    }
    call = InboundCall("CA9", "AC1", read_caller(ANNA), NUMBER, NUMBER)
    route = routing_of(companies.server).find_route(call)
    assert route is not None
    assert f"flow={route.flow_id}&" in answers["inbound"].text


def test_a_message_to_another_projects_number_is_written_for_nobody(companies: Companies) -> None:
    """Its number was not known to the machine that took it."""
    folder = companies.use_machine()
    routing_of(companies.server).find_route = lambda call: None  # type: ignore[method-assign]  # it knows no number
    assert companies.status_of("/voice/sms", MessageSid="SM1", To=ELSEWHERE, Body="Hello") == 200
    assert companies.status_of("/voice/inbound", To=ELSEWHERE) == 200
    companies.apply(folder)
    assert (count(companies.server, TextMessage), count(companies.server, Call)) == (0, 0)
    assert count(companies.server, SetAsideRecord) == 2
