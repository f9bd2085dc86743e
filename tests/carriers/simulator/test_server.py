"""The exchange beside us: calls are placed over HTTP and people press the buttons."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from router.carriers.simulator import Line, RealClock
from router.carriers.simulator.exchange import ControlServer
from router.lib.http_client import trusted_authorities
from tests.carriers.simulator.conftest import CALLER, NUMBER, OFFICE, SALES, Exchanges, TwimlServer, dial, response
from tests.waiting import eventually

KEY = "control-key"


@pytest.fixture
def control(exchange: Exchanges) -> Iterator[ControlServer]:
    """Real time, twenty times as fast; every line is worked by hand."""
    simulator = exchange(clock=RealClock(speed=20), lines={"*": Line.by_hand()})
    server = ControlServer(simulator, KEY, mounts={"/mounted": lambda *asked: (200, "text/plain", asked[3])})
    server.start()
    yield server
    server.close()


@pytest.fixture
def telephone(control: ControlServer) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(
        base_url=control.address, headers=headers, trust_env=False, verify=trusted_authorities()
    ) as client:
        yield client


def place(telephone: httpx.Client, caller: str = CALLER) -> str:
    answer = telephone.post("/calls", json={"from": caller, "to": NUMBER})
    assert answer.status_code == 201
    return str(answer.json()["sid"])


def until(telephone: httpx.Client, sid: str, seen: Any) -> dict[str, Any]:
    """The call's state as soon as it is so."""

    def look() -> dict[str, Any] | None:
        state: dict[str, Any] = telephone.get(f"/calls/{sid}").json()
        return state if seen(state) else None

    found: dict[str, Any] = eventually(look)
    return found


def ringing(state: dict[str, Any]) -> bool:
    return any(leg["status"] == "ringing" for leg in state["legs"])


def ended(state: dict[str, Any]) -> bool:
    return bool(state["ended"])


def press(telephone: httpx.Client, sid: str, what: str, leg: str = "") -> None:
    assert telephone.post(f"/calls/{sid}/press", json={"what": what, "leg": leg}).status_code == 202


def test_the_company_answers_talks_and_hangs_up_by_hand(telephone: httpx.Client, twiml: TwimlServer) -> None:
    twiml.pages["/voice/inbound"] = response(dial(SALES, timeout="600"))
    sid = place(telephone)
    leg = until(telephone, sid, ringing)["legs"][0]
    assert leg["to"] == SALES
    press(telephone, sid, "answer", leg["sid"])
    state = until(telephone, sid, lambda state: state["talk_seconds"] is not None)
    assert state["status"] == "in-progress"
    press(telephone, sid, "hang_up", leg["sid"])
    state = until(telephone, sid, lambda state: ended(state) and "/voice/status" in state["log"][-1]["url"])
    assert (state["status"], state["legs"][0]["bridged"], state["caller_hung_up"]) == ("completed", True, False)


@pytest.mark.parametrize(("button", "status"), [("busy", "busy"), ("no_answer", "no-answer")])
def test_the_company_line_does_what_is_pressed(
    telephone: httpx.Client, twiml: TwimlServer, button: str, status: str
) -> None:
    twiml.pages["/voice/inbound"] = response(dial(SALES, action="/next", timeout="600"))
    twiml.pages["/next"] = response("<Hangup/>")
    sid = place(telephone)
    press(telephone, sid, button, until(telephone, sid, ringing)["legs"][0]["sid"])
    assert until(telephone, sid, ended)["legs"][0]["status"] == status
    assert twiml.values("/next")[0]["DialCallStatus"] == status


def test_the_caller_hangs_up_by_hand(telephone: httpx.Client, twiml: TwimlServer) -> None:
    twiml.pages["/voice/inbound"] = response(dial(SALES, OFFICE, timeout="600"))
    sid = place(telephone, "anonymous")
    until(telephone, sid, ringing)
    press(telephone, sid, "hang_up")
    state = until(telephone, sid, ended)
    assert (state["caller"], state["caller_hung_up"]) == ("anonymous", True)
    assert [leg["status"] for leg in state["legs"]] == ["canceled", "canceled"]


def test_nobody_pressing_anything_ends_the_call(telephone: httpx.Client, twiml: TwimlServer) -> None:
    twiml.pages["/voice/inbound"] = response(dial(SALES, timeout="5"))
    state = until(telephone, place(telephone), ended)
    assert state["legs"][0]["status"] == "no-answer"


def test_every_request_and_its_answer_is_in_the_log(telephone: httpx.Client, twiml: TwimlServer) -> None:
    twiml.pages["/voice/inbound"] = response("<Say>Hello</Say>")

    def both_are_answered(state: dict[str, Any]) -> bool:
        return ended(state) and [bool(entry["status"]) for entry in state["log"]] == [True, True]

    log = until(telephone, place(telephone), both_are_answered)["log"]
    assert [(entry["kind"], entry["status"]) for entry in log] == [("inbound", 200), ("status", 204)]
    assert (log[0]["body"], log[0]["values"]["To"]) == (response("<Say>Hello</Say>"), NUMBER)


def test_the_last_calls_are_listed_newest_first(telephone: httpx.Client, twiml: TwimlServer) -> None:
    twiml.pages["/voice/inbound"] = response("<Hangup/>")
    sids = [place(telephone) for _ in range(3)]
    items = telephone.get("/calls").json()["items"]
    assert [item["sid"] for item in items] == sids[::-1]
    assert "log" not in items[0]


@pytest.mark.parametrize("asked", [{}, {"to": ""}, {"to": 5}, {"to": NUMBER, "from": []}, [], {"to": "1" * 200}])
def test_a_call_without_a_number_is_refused(telephone: httpx.Client, asked: Any) -> None:
    assert telephone.post("/calls", json=asked).status_code == 422


def test_a_call_may_be_a_forwarded_one(telephone: httpx.Client, twiml: TwimlServer) -> None:
    twiml.pages["/voice/inbound"] = response("<Hangup/>")
    said = {"forwarded_from": "+4930901820", "stir_verstat": "No-TN-Validation", "diversion": "<tel:+4930901820>"}
    sid = telephone.post("/calls", json={"from": CALLER, "to": NUMBER} | said).json()["sid"]
    until(telephone, sid, ended)
    (values,) = twiml.values("/voice/inbound")
    told = (values["ForwardedFrom"], values["StirVerstat"], values["SipHeader_Diversion"])
    assert told == tuple(said.values())


@pytest.mark.parametrize("said", [{"forwarded_from": 5}, {"diversion": "x" * 1025}])
def test_a_call_whose_network_says_junk_is_refused(telephone: httpx.Client, said: dict[str, Any]) -> None:
    assert telephone.post("/calls", json={"from": CALLER, "to": NUMBER} | said).status_code == 422


def test_junk_is_refused_and_breaks_nothing(telephone: httpx.Client, twiml: TwimlServer) -> None:
    twiml.pages["/voice/inbound"] = response("<Hangup/>")
    sid = place(telephone)
    assert telephone.post("/calls", content=b"\xff{").status_code == 422
    assert telephone.post(f"/calls/{sid}/press", json={"what": "explode"}).status_code == 422
    assert telephone.get("/calls/unknown").status_code == 404
    assert telephone.get("/elsewhere").status_code == 404
    assert telephone.post("/calls", content=b"x" * 300_000).status_code == 413
    assert telephone.get("/calls").status_code == 200


def test_the_carrier_behaves_as_it_is_told(telephone: httpx.Client, twiml: TwimlServer) -> None:
    twiml.pages["/voice/inbound"] = response(dial(SALES, action="/next", timeout="600"))
    told = {"parallel": True, "lost": 1, "after_hang_up": "completed", "status_first": True}
    assert telephone.post("/faults", json=told).status_code == 204
    sid = place(telephone)
    until(telephone, sid, ringing)
    press(telephone, sid, "hang_up")
    until(telephone, sid, lambda state: ended(state) and state["log"][-1]["kind"] == "action")
    (action,) = twiml.values("/next")
    assert (action["DialCallStatus"], action["CallStatus"]) == ("canceled", "completed")
    assert twiml.values("/voice/status") == []


@pytest.mark.parametrize("told", [{"lost": 2}, {"late": "often"}, {"doubled": None}, {"after_hang_up": "silence"}])
def test_odds_that_are_none_are_refused(telephone: httpx.Client, told: dict[str, Any]) -> None:
    assert telephone.post("/faults", json=told).status_code == 422


def test_only_who_knows_the_key_may_use_the_telephone(control: ControlServer) -> None:
    """Any web page can reach the loopback of the browser's machine."""
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}):
        answer = httpx.post(
            f"{control.address}/calls",
            json={"to": NUMBER},
            headers=headers,
            trust_env=False,
            verify=trusted_authorities(),
        )
        assert answer.status_code == 401


def test_a_mount_answers_below_its_path_without_the_key(control: ControlServer) -> None:
    assert (
        httpx.post(
            f"{control.address}/mounted/x?y=1", content=b"echo", trust_env=False, verify=trusted_authorities()
        ).text
        == "echo"
    )


def test_text_messages_are_sent_over_http_and_nonsense_is_refused(telephone: httpx.Client, twiml: TwimlServer) -> None:
    twiml.pages["/voice/sms"] = response("")
    sent = telephone.post("/messages", json={"from": CALLER, "to": NUMBER, "body": "Sunday?"})
    assert (sent.status_code, sent.json()["status"]) == (201, 200)
    assert sent.json()["sid"].startswith("SM")
    for odd in ({}, {"from": CALLER}, {"from": 1, "to": NUMBER}, {"from": CALLER, "to": "1" * 90}):
        assert telephone.post("/messages", json=odd).status_code == 422
    twiml.pages["/voice/sms"] = (500, "text/plain", "")
    assert telephone.post("/messages", json={"from": CALLER, "to": NUMBER, "body": "Sunday?"}).status_code == 502
