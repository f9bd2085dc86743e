"""Drives the real endpoints in virtual time: page views and signs of life as the tag sends them, calls as the carrier sends them."""

import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import time_machine
from sqlalchemy import func, select
from twilio.request_validator import RequestValidator

from bench.traffic.browsers import CALL, CRAWLER, LEFT, SIGN, TAP, VIEW, Act, acts_of
from bench.traffic.cells import Cell, Told
from router.app import create_app
from router.attribution.models import Lease, Visit
from router.attribution.planner.traffic import Traffic
from router.config import Settings
from router.db import Database, migrate
from router.voice.models import Call
from tests.application import AppliedAtOnce
from tests.factories import make_project, make_scenario

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
BASE_URL, TOKEN = "https://calls.example.net", "bench-token"
SITE = {"Origin": "https://shop.example", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
CRAWLS = SITE | {"User-Agent": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"}
FIRST_CALLER = 14_152_000_000


class Browser:
    """What the browser of a stay knows."""

    def __init__(self, visit: int, token: str, e164: str | None) -> None:
        self.visit, self.token, self.e164 = visit, token, e164


class Site:
    """A web site with its visitors and callers, and the server that it asks."""

    def __init__(self, traffic: Traffic, server: Any, client: Any, travel: Any) -> None:
        self._traffic, self._client, self._travel = traffic, client, travel
        self._validator = RequestValidator(server.settings.twilio_auth_token)
        self._browsers: dict[int, Browser] = {}
        self._visitor_ids: dict[str, str] = {}
        self._sources: dict[str, int] = {}
        self._callers: dict[str, int] = {}
        self._truth: dict[str, tuple[int, int]] = {}
        self._do = {VIEW: self._view, SIGN: self._sign, LEFT: self._left, TAP: self._tap, CALL: self._call}

    def run(self) -> dict[str, tuple[int, int]]:
        """The true visit number and source of each call, by its id."""
        for act in acts_of(self._traffic):
            self._travel.move_to(BEGIN + timedelta(seconds=act.at))
            if act.what == CRAWLER:
                self._crawl()
            else:
                self._do[act.what](act)
        return self._truth

    def _post(self, path: str, body: dict[str, Any], expected: tuple[int, ...], headers: Any = SITE) -> Any:
        answer = self._client.post(f"/tag/k-shop/visits{path}", json=body, headers=headers)
        if answer.status_code not in expected:
            raise RuntimeError(f"{path}: {answer.status} {answer.text}")
        return answer.get_json() if answer.status_code < 204 else None

    def _crawl(self) -> None:
        self._post("", {"page": "https://shop.example/"}, (204,), CRAWLS)

    def _view(self, act: Act) -> None:
        stay = self._traffic.stays[act.index]
        same = self._sources.get(stay.visitor) == stay.source_key
        self._sources[stay.visitor] = stay.source_key
        query = "" if same else f"?utm_source=s{stay.source_key}&utm_medium=cpc"
        body = {"page": f"https://shop.example/{query}", "visitor": self._visitor_ids.get(stay.visitor)}
        answer = self._post("", body, (201,))
        self._visitor_ids[stay.visitor] = answer["visitor"]
        e164 = answer["numbers"][0]["e164"] if answer["numbers"] else None
        self._browsers[act.index] = Browser(answer["visit"], answer["token"], e164)

    def _sign(self, act: Act) -> None:
        browser = self._browsers[act.index]
        answer = self._post(f"/{browser.token}/alive", {}, (200, 204))
        if answer and answer["numbers"]:
            browser.e164 = answer["numbers"][0]["e164"]

    def _left(self, act: Act) -> None:
        self._post(f"/{self._browsers[act.index].token}/left", {}, (204,))

    def _tap(self, act: Act) -> None:
        browser = self._browsers[act.index]
        self._post(f"/{browser.token}/tap", {"e164": browser.e164}, (204,))

    def _call(self, act: Act) -> None:
        call = self._traffic.calls[act.index]
        stay, browser = self._traffic.stays[call.stay], self._browsers[call.stay]
        caller = FIRST_CALLER + self._callers.setdefault(stay.visitor, len(self._callers))
        sid = f"CA{act.index:08d}"
        form = {"CallSid": sid, "AccountSid": "AC1", "From": f"+{caller}", "To": browser.e164, "CallStatus": "ringing"}
        signature = self._validator.compute_signature(BASE_URL + "/voice/inbound", form)
        answer = self._client.post("/voice/inbound", data=form, headers={"X-Twilio-Signature": signature})
        if b"<Number" not in answer.data:
            raise RuntimeError(f"the call was not put through: {answer.text}")
        self._truth[sid] = (browser.visit, stay.source_key)


def run_ours(cell: Cell) -> Told:
    with ExitStack() as stack:
        memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="router-traffic-", dir=memory)))
        travel = stack.enter_context(time_machine.travel(BEGIN, tick=False))
        app = create_app(_settings(folder))
        server = app.extensions["router"]
        server.journal = AppliedAtOnce(server)
        stack.callback(server.database.dispose)
        with server.database.writing() as session:
            make_scenario(session, make_project(session), cell.numbers, aim=cell.aim)
        truth = Site(cell.traffic(), server, app.test_client(), travel).run()
        return _told(server.database, truth)


def _settings(folder: Path) -> Settings:
    url = f"sqlite:///{folder}/router.db"
    database = Database(url, pool_size=1)
    migrate(database)
    database.dispose()
    return Settings(
        data_dir=folder,
        database_url=url,
        public_url=BASE_URL,
        secret_key="bench-secret-key-0123456789",
        TWILIO_AUTH_TOKEN=TOKEN,
        visit_rate="off",
        crawl_rate="off",
        log_level="error",
    )


def _told(database: Database, truth: dict[str, tuple[int, int]]) -> Told:
    told = Told()
    wanted = select(Call.sid, Visit.number, Call.source, Call.confidence, Call.source_confidence)
    with database.reading() as session:
        for sid, visit, source, sure, source_sure in session.execute(
            wanted.outerjoin(Visit, Visit.id == Call.visit_id)
        ):
            true_visit, true_source = truth[sid]
            right_visit, right_source = visit == true_visit, bool(source) and source["source"] == f"s{true_source}"
            told.count(right_visit, right_source)
            told.stated.append((sure or 0.0, right_visit))
            told.stated_sources.append((source_sure or 0.0, right_source))
        of_scenario = select(func.count(Lease.visit_id.distinct())).where(Lease.returned_at.is_(None))
        told.visits = session.scalar(of_scenario) or 0
        told.exclusive = told.visits - (session.scalar(of_scenario.where(Lease.shared)) or 0)
    return told
