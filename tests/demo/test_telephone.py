"""The demo's telephone talks to the process beside the web server, and only in short sentences."""

import httpx
from flask.testing import FlaskClient

from router.demo import shop
from router.lib.http_client import trusted_authorities
from tests.waiting import eventually


def placed(client: FlaskClient, caller: str, to: str = "(415) 555-0101") -> dict[str, str]:
    answer = client.post("/demo/phone/calls", json={"from": caller, "to": to})
    assert answer.status_code == 200, answer.text
    call: dict[str, str] = answer.get_json()
    return call


CALLERS = {
    "(628) 555-0117": "+16285550117",
    "+49 30 901820": "+4930901820",
    "  ": "anonymous",
    "Restricted": "Restricted",
}


def test_any_caller_can_dial_any_number(client: FlaskClient, outside: str) -> None:
    """An empty caller is withheld; a word is passed on as the carrier would."""
    for written, said in CALLERS.items():
        call = placed(client, written)
        assert (call["caller"], call["to"]) == (said, "+14155550101")


def test_the_call_can_be_watched_to_its_end(client: FlaskClient, outside: str) -> None:
    """Here the carrier finds no server: the caller hears so, and the log says why."""
    sid = placed(client, "(628) 555-0117")["sid"]
    call = eventually(lambda: found if (found := client.get(f"/demo/phone/calls/{sid}").get_json())["ended"] else None)
    assert "application error" in call["heard"][0]
    assert call["log"][0]["path"] == "/voice/inbound"
    assert call["log"][0]["error"].startswith("11200")
    assert (call["receipt"], call["to_display"]) == (None, "+1 415-555-0101")
    assert client.get("/demo/phone/calls").get_json()["items"][0]["sid"] == sid


def test_what_is_no_number_cannot_be_dialled(client: FlaskClient, outside: str) -> None:
    for to in ("", "hello", "12", "+1999", "tel:"):
        answer = client.post("/demo/phone/calls", json={"from": "", "to": to})
        assert (answer.status_code, answer.get_json()["field"]) == (422, "to")


def test_buttons_reach_the_exchange_and_junk_is_refused(client: FlaskClient, outside: str) -> None:
    sid = placed(client, "")["sid"]
    assert client.post(f"/demo/phone/calls/{sid}/press", json={"what": "hang_up"}).status_code == 200
    assert client.post(f"/demo/phone/calls/{sid}/press", json={"what": "explode"}).status_code == 422
    assert client.post("/demo/phone/calls/nobody/press", json={"what": "answer"}).status_code == 404
    assert client.get("/demo/phone/calls/..%2F..%2Fjson").status_code == 404


def test_another_web_site_cannot_dial_behind_the_visitors_back(client: FlaskClient, outside: str) -> None:
    """Without a preflight a foreign page can only send forms and plain text."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        body = b'{"to": "+14155550101"}'
        assert client.post("/demo/phone/calls", data=body, content_type=kind).status_code == 415


def test_without_the_exchange_the_telephone_says_what_to_do(client: FlaskClient) -> None:
    answer = client.get("/demo/phone/calls")
    assert answer.status_code == 503
    assert "router demo" in answer.get_json()["detail"]


def test_the_page_knows_all_tracking_numbers_and_takes_one_from_its_link(client: FlaskClient) -> None:
    page = client.get("/demo/phone?to=%2B14155550103").text
    assert 'value="(415) 555-0103"' in page
    for number in ("(415) 555-0101", "(415) 555-0160", "(415) 555-0161"):
        assert f'data-choose="{number}"' in page
    assert client.get("/demo/phone?to=<script>").status_code == 200


def test_what_the_receivers_got_is_shown_newest_first(client: FlaskClient, outside: str) -> None:
    started = {"type": "call.started", "data": {"caller": "+16285550117", "status": "in_progress"}}
    event = {"client_id": "1.2", "events": [{"name": "Call", "params": {"call_status": "answered"}}]}
    with httpx.Client(base_url=outside, trust_env=False, verify=trusted_authorities()) as sender:
        assert sender.post("/demo/inbox/webhook", json=started, headers={"webhook-id": "msg_1"}).status_code == 200
        collected = sender.post("/demo/inbox/mp/collect?measurement_id=G-1&api_secret=hidden", json=event)
        assert collected.status_code == 204
        assert sender.post("/demo/inbox/webhook", content=b"\xff\x00 no json").status_code == 200
        assert sender.post("/demo/inbox/elsewhere").status_code == 404
    items = client.get("/demo/inbox/items").get_json()["items"]
    assert [item["summary"] for item in items] == [
        "not readable",
        "event Call · answered",
        "call.started · +16285550117 · in_progress",
    ]
    assert items[2]["headers"]["Webhook-Id"] == "msg_1"
    assert "hidden" not in str(items)


def test_the_crm_keeps_what_it_is_sent_and_refuses_another_key(client: FlaskClient, outside: str) -> None:
    lead = {"fields": ["id", "name", "phone"], "data": [["calltrack.lead_1", "Call from Ada", "+16285550117"]]}
    wanted = {"domain": [["phone_sanitized", "=", "+16285550117"]], "fields": ["id", "name"]}
    with httpx.Client(
        base_url=outside, trust_env=False, verify=trusted_authorities(), headers={"Authorization": "bearer crm-key"}
    ) as sender:
        assert sender.post("/json/2/crm.lead/load", json=lead).json()["ids"]
        assert sender.post("/json/2/crm.lead/search_read", json=wanted).json()[0]["name"] == "Call from Ada"
        refused = sender.post("/json/2/crm.lead/load", json=lead, headers={"Authorization": "bearer wrong"})
        assert refused.status_code == 401
    items = client.get("/demo/inbox/items").get_json()["items"]
    assert [item["summary"] for item in items if item["answer"].startswith("200")] == ["lead “Call from Ada”"]
    assert "crm-key" not in str(items)


def test_the_example_companys_lines_have_names() -> None:
    assert set(shop.LINES) == {shop.COUNTER, shop.WORKSHOP}
