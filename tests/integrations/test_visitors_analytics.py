"""Matomo and Yandex.Metrica: a call counts for the visitor who made it, once, and not for one whom they do not know."""

import csv
import email
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from router.accounts.models import Project
from router.integrations.matomo import MatomoSettings
from router.integrations.metrica import MetricaSettings
from router.integrations.models import Delivery
from router.integrations.outbox import fan_out
from router.scenarios.models import Scenario
from tests.factories import CALLER, make_call, make_integration, make_visit
from tests.integrations.conftest import Office
from tests.integrations.receiver import Receiver, Request
from tests.people import NOW

IDS = {"matomo": "0123456789abcdef", "metrica": "1700000000123456789"}
TOKEN = "33dc3f2536d3025974cccb4b4d2d98f4"


class Analytics:
    """Both services as their documents tell: each refuses what the real one does, and keeps what it counts."""

    def __init__(self) -> None:
        self.counted: list[dict[str, str]] = []
        self.paths: list[str] = []

    def __call__(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        self.paths.append(request.path)
        return self.matomo(request) if request.path == "/matomo.php" else self.metrica(request)

    def matomo(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        body = request.json
        if body["token_auth"] != TOKEN:
            return 401, {}, b'{"status": "error", "tracked": 0, "message": "token_auth is not valid"}'
        tracked = 0
        for one in body["requests"]:
            values = dict(parse_qsl(one.removeprefix("?"), strict_parsing=True))
            when = datetime.strptime(values["cdt"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            if values["idsite"] == "1" and values["rec"] == "1" and len(values["cid"]) == 16 and when <= NOW:
                self.counted.append(values)
                tracked += 1
        answer = {"status": "success", "tracked": tracked, "invalid": len(body["requests"]) - tracked}
        return 200, {}, json.dumps(answer).encode()

    def metrica(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.headers["authorization"] != f"OAuth {TOKEN}":
            return (
                403,
                {},
                b'{"errors": [{"error_type": "invalid_token"}], "code": 403, "message": "Invalid oauth_token"}',
            )
        head = f"Content-Type: {request.headers['content-type']}\r\n\r\n".encode()
        (part,) = email.message_from_bytes(head + request.body).get_payload()  # type: ignore[misc] # of a multipart body
        assert part.get_param("name", header="content-disposition") == "file"  # type: ignore[union-attr]  # None would fail the test
        (row,) = csv.DictReader(part.get_payload(decode=True).decode().splitlines())  # type: ignore[union-attr]  # None would fail the test
        if not row.get("ClientId") and not row.get("Yclid"):
            return 400, {}, b'{"errors": [], "code": 400, "message": "no id column"}'
        self.counted.append(row)
        return 200, {}, b'{"uploading": {"id": 1, "source_quantity": 1, "type": "CALLS", "status": "UPLOADED"}}'


def told(office: Office, inbox: Receiver, kind: str, token: str = TOKEN, visit: Any = None, **more: Any) -> Delivery:
    """What became of the delivery of a call whose visit both services know."""
    config = {"matomo": {"url": inbox.url, "site": "1", "category": "Call", "goal": "3", "value": "25"}}
    config["metrica"] = {"counter": "77", "goal": "Звонок", "value": "25", "currency": "RUB", "endpoint": inbox.url}
    with office.database.writing() as session:
        scenario = session.get_one(Scenario, office.scenario_id)
        sealed = office.server.keys.seal(token)
        make_integration(session, scenario, kind, kind, config=config[kind], sealed=sealed, receiver=f"{kind}:1:x")
        project = session.get_one(Project, office.project_id)
        row = make_visit(
            session, project, **({"params": IDS, "page": "https://shop.example/?utm_source=x"} | (visit or {}))
        )
        fields = {"visit_id": row.id, "rule": "lease", "confidence": 0.9, "started_at": NOW - timedelta(hours=1)} | more
        fan_out(session, make_call(session, scenario, **fields), "call.ended", NOW)
    office.server.now = lambda: NOW
    office.worker(total_seconds=1.0).run_once(NOW)
    with office.database.reading() as session:
        return session.scalars(select(Delivery)).one()


def test_matomo_counts_an_event_and_a_goal_of_the_visitor(office: Office, inbox: Receiver) -> None:
    inbox.answer = analytics = Analytics()
    assert told(office, inbox, "matomo", source={"source": "google", "medium": "cpc"}).state == "done"
    event, goal = analytics.counted
    assert (event["cid"], event["cdt"]) == (IDS["matomo"], "2026-11-23 11:00:00")
    assert (event["e_c"], event["e_a"], event["e_n"], event["e_v"]) == ("Call", "answered", "google / cpc", "185")
    assert (goal["idgoal"], goal["revenue"], goal["cid"]) == ("3", "25", IDS["matomo"])
    assert "e_c" not in goal
    assert CALLER not in json.dumps(analytics.counted)


def test_metrica_gets_a_file_of_the_call(office: Office, inbox: Receiver) -> None:
    inbox.answer = analytics = Analytics()
    assert told(office, inbox, "metrica").state == "done"
    (row,) = analytics.counted
    assert row == {
        "ClientId": IDS["metrica"],
        "DateTime": str(int((NOW - timedelta(hours=1)).timestamp())),
        "StaticCall": "0",
        "TalkDuration": "185",
        "HoldDuration": "9",
        "CallMissed": "0",
        "FirstTimeCaller": "1",
        "URL": "https://shop.example/?utm_source=x",
        "Price": "25.00",
        "Currency": "RUB",
    }
    assert analytics.paths[0].startswith("/management/v1/counter/77/offline_conversions/upload_calls?new_goal_name=%D0")


def test_a_missed_call_reaches_no_goal_and_has_no_value(office: Office, inbox: Receiver) -> None:
    inbox.answer = analytics = Analytics()
    told(office, inbox, "matomo", status="missed", talk_seconds=None)
    assert [each["e_a"] for each in analytics.counted] == ["missed"]


def test_metrica_goes_by_the_click_where_it_does_not_know_the_browser(office: Office, inbox: Receiver) -> None:
    inbox.answer = analytics = Analytics()
    told(office, inbox, "metrica", visit={"params": {}, "click_ids": {"yclid": "12345678901"}}, status="missed")
    (row,) = analytics.counted
    assert (row["Yclid"], row["CallMissed"]) == ("12345678901", "1")
    assert "ClientId" not in row
    assert "Price" not in row


@pytest.mark.parametrize("kind", ["matomo", "metrica"])
def test_a_visitor_whom_they_do_not_know_is_not_made_up(office: Office, inbox: Receiver, kind: str) -> None:
    inbox.answer = analytics = Analytics()
    delivery = told(office, inbox, kind, visit={"params": {"colour": "red"}})
    assert (delivery.state, analytics.paths) == ("skipped", [])


@pytest.mark.parametrize("kind", ["matomo", "metrica"])
def test_a_wrong_token_costs_no_call(office: Office, inbox: Receiver, kind: str) -> None:
    inbox.answer = Analytics()
    assert told(office, inbox, kind, token="wrong").state == "pending"


@pytest.mark.parametrize(
    ("kind", "days", "state"), [("matomo", 8, "expired"), ("metrica", 22, "expired"), ("metrica", 20, "done")]
)
def test_what_they_would_not_count_is_not_sent(
    office: Office, inbox: Receiver, kind: str, days: int, state: str
) -> None:
    inbox.answer = Analytics()
    assert told(office, inbox, kind, started_at=NOW - timedelta(days=days)).state == state


@pytest.mark.one_database
@pytest.mark.parametrize("kind", ["matomo", "metrica"])
def test_what_may_have_arrived_is_not_sent_again(office: Office, inbox: Receiver, kind: str) -> None:
    inbox.answer = lambda request: (200, {"Content-Length": "9999"}, b"")  # the answer breaks off
    assert told(office, inbox, kind).state == "unconfirmed"
    office.worker().run_once(NOW + timedelta(minutes=5))
    assert len(inbox.requests) == 1


def test_a_matomo_that_takes_nothing_is_told(office: Office, inbox: Receiver) -> None:
    inbox.answer = lambda request: (200, {}, b'{"status": "success", "tracked": 0, "invalid": 2}')
    delivery = told(office, inbox, "matomo")
    assert (delivery.state, delivery.reason[:30]) == ("dead", "Matomo took 0 of 2 requests. {")


@pytest.mark.one_database
@pytest.mark.parametrize("wrong", ["0123456789ABCDEF", "0123456789abcde", "<script>", "\u0661" * 16])
def test_ids_of_another_form_are_not_sent(office: Office, inbox: Receiver, wrong: str) -> None:
    assert told(office, inbox, "matomo", visit={"params": {"matomo": wrong}}).state == "skipped"
    assert inbox.requests == []


def test_addresses_are_taken_as_people_paste_them() -> None:
    settings = MatomoSettings(url="https://a.example/matomo/index.php?module=CoreHome", site="1", token=TOKEN)
    assert settings.url == "https://a.example/matomo"
    for wrong in ({"site": "x"}, {"site": ""}, {"goal": "-1"}, {"value": "-5"}):
        with pytest.raises(ValidationError):
            MatomoSettings(**({"url": "https://a.example", "site": "1"} | wrong))
    for wrong in ({"counter": "GA"}, {"value": "5"}, {"value": "5", "currency": "XXXX"}):
        with pytest.raises(ValidationError):
            MetricaSettings(**({"counter": "77"} | wrong))
