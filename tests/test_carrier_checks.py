"""`router doctor` asks the carrier and the public address what keeps calls from this server."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import func, select
from werkzeug import Response
from werkzeug.serving import BaseWSGIServer

from router.accounts.audit import Actor, Change
from router.accounts.models import Project
from router.carrier_checks import examine_carrier
from router.carriers import ANYWHERE, shop_of
from router.carriers.accounts import AccountValues, save_account
from router.carriers.base import DialledCountry
from router.carriers.simulator.standing import Standing
from router.carriers.twilio.account import is_open_for, misdirections, shown_address
from router.carriers.twilio.round_trip import HEADER, PATH
from router.cli import router
from router.config import Settings
from router.db import Database
from router.lib.crypto import KeyRing
from router.lib.http_client import Answer, Outgoing
from router.server import Server
from router.voice.applier import journal_folder
from router.voice.following import routing_of
from router.voice.models import Call
from tests.application import Applications
from tests.carriers.rest import BUNDLE, HOME, REGULATED, TOKEN
from tests.carriers.rest_faults import Fault, FaultyRest, faulty_server
from tests.contents import content
from tests.factories import NOON, make_compliance, make_number, make_project, make_scenario

pytestmark = pytest.mark.one_database  # which is asked once, for the numbers that are here

PUBLIC = "https://calls.example.net"
NUMBER = "+12015550001"
LINE = "+4930901820"
SID = "AC" + "5" * 32
Proxy = Callable[[dict[str, Any]], Response | None]


class Rerouted(Outgoing):
    """Finds the public address at this machine, as a proxy with the certificate would."""

    local = ""
    public = PUBLIC

    def request(self, method: str, url: str, *values: Any, **more: Any) -> Answer:
        assert url.startswith(self.public)
        return super().request(method, url.replace(self.public, self.local, 1), *values, **more)


@dataclass
class World:
    """An installation whose carrier and public address are on this machine."""

    server: Server
    port: BaseWSGIServer
    app: Flask
    rest: FaultyRest
    http: Rerouted

    def wrong(self, server: Server | None = None, has_database: bool = True) -> dict[str, str]:
        return {subject: words for subject, (words, is_wrong) in self.all(server, has_database).items() if is_wrong}

    def all(self, server: Server | None = None, has_database: bool = True) -> dict[str, tuple[str, bool]]:
        server = server or self.server
        found = list(examine_carrier(server, routing_of(self.server).snapshot, has_database, self.http))
        assert TOKEN not in str(found)
        assert all(key not in str(found) for key in server.keys.keys)
        return {finding.subject: (finding.words, finding.is_wrong) for finding in found}

    def behind(self, proxy: Proxy) -> None:
        def pass_on(environ: dict[str, Any], start_response: Any) -> Any:
            return (proxy(environ) or self.app)(environ, start_response)

        self.port.app = pass_on


@content
def checked_shop(database: Database, _: Any) -> None:
    with database.writing() as session:
        make_scenario(session, make_project(session), [NUMBER], destinations=[LINE])


@pytest.fixture
def world(checked_shop: None, applications: Applications, settings: Settings, tmp_path: Path) -> Iterator[World]:
    with (
        faulty_server(tmp_path / "simulator.db", SID, TOKEN) as (carrier, rest),
        _at_a_port(applications, settings, carrier.url) as (port, app),
    ):
        server: Server = app.extensions["router"]
        change_settings(server, public_url=PUBLIC)
        server.now = lambda: NOON
        shop_of(server).buy(NUMBER, "ct:1")
        routing_of(server).refresh()
        http = Rerouted(ANYWHERE, total_seconds=5)
        http.local = f"http://127.0.0.1:{port.server_port}"
        yield World(server, port, app, rest, http)


@contextmanager
def _at_a_port(
    applications: Applications, settings: Settings, carrier_url: str
) -> Iterator[tuple[BaseWSGIServer, Flask]]:
    twilio = {
        "carrier": "twilio",
        "twilio_account_sid": SID,
        "twilio_auth_token": TOKEN,
        "carrier_url": carrier_url,
    }
    with applications.on_a_port(settings.model_copy(update=twilio)) as served:
        yield served


def test_chosen_bundles_and_addresses_are_looked_for_at_the_carrier(world: World) -> None:
    server, subject = world.server, "carrier's bundles"
    assert subject not in world.all(), "nothing is chosen"
    world.rest.standing = replace(REGULATED)
    with server.database.writing() as session:
        project = session.scalars(select(Project)).one()
        make_compliance(session, project, "HU", bundle_sid=BUNDLE, address_sid=HOME)
    assert world.all()[subject] == ("what goes with orders of 1 kind of numbers is approved", False)
    for bundle, said in (
        (replace(REGULATED.bundles[0], status="twilio-rejected"), "the bundle Hungary is rejected"),
        (replace(REGULATED.bundles[0], valid_until="2026-12-10T00:00:00Z"), "valid only until 10 December 2026"),
    ):
        world.rest.standing = replace(REGULATED, bundles=(bundle,))
        words = world.wrong()[subject]
        assert words.startswith(f"Local numbers in Hungary (project {project.id}): the bundle Hungary is")
        assert said in words
    world.rest.faults.always("bundles", Fault.broken(done=False))
    assert "500" in world.wrong()[subject]
    world.rest.faults.clear()
    with server.database.writing() as session:
        change = Change(session, server, project, Actor("alice@example.com"), NOON)
        save_account(change, AccountValues(account_sid=SID, auth_token=TOKEN))
        make_compliance(session, project, "HU", carrier_account=SID, address_sid="AD9")
    assert "no address" in world.wrong()[f"project {project.id}: {subject}"]


def test_projects_own_accounts_are_examined_as_the_servers_is(world: World) -> None:
    server = world.server
    with server.database.writing() as session:
        project = session.scalars(select(Project)).one()
        change = Change(session, server, project, Actor("alice@example.com"), NOON)
        save_account(change, AccountValues(account_sid=SID, auth_token=TOKEN))
    routing_of(server).refresh()
    of_project = f"project {project.id}: "
    found = {name.removeprefix(of_project): said for name, said in world.all().items() if name.startswith(of_project)}
    assert found == {
        "carrier's account": ("active full", False),
        "carrier's balance": ("100.00 USD", False),
        "carrier's numbers": ("1 number of ours, pointed here", False),
        "carrier's countries": ("DE, US may be called", False),
    }
    with server.database.writing() as session:
        change = Change(session, server, project, Actor("alice@example.com"), NOON)
        save_account(change, AccountValues(account_sid=SID, auth_token="some-other-token"))
    assert list(world.wrong()) == [f"{of_project}carrier's account"]


def change_settings(server: Server, **more: Any) -> None:
    server.settings = server.settings.model_copy(update=more)
    server.carrier = None


def test_an_installation_whose_calls_come_in_has_nothing_wrong(world: World) -> None:
    assert world.all() == {
        "carrier's account": ("active full", False),
        "carrier's balance": ("100.00 USD", False),
        "public address": (PUBLIC, False),
        "  reached": (f"{PUBLIC}/healthz answers", False),
        "  signature": (f"a request that was signed for {PUBLIC}/voice/check?step=1 is accepted", False),
        "carrier's numbers": ("1 number of ours, pointed here", False),
        "carrier's countries": ("DE, US may be called", False),
    }
    with world.server.database.reading() as session:
        assert session.scalar(select(func.count()).select_from(Call)) == 0, "the round trip is no call"
    assert not list(journal_folder(world.server).glob("*.log"))


def test_the_simulated_carrier_is_not_asked(world: World) -> None:
    world.server.settings = world.server.settings.model_copy(update={"carrier": "simulator"})
    assert world.all() == {}


@pytest.mark.parametrize(
    ("standing", "subject", "words"),
    [
        (Standing(status="suspended"), "carrier's account", "suspended: no call comes in"),
        (Standing(status="closed"), "carrier's account", "closed: no call comes in"),
        (Standing(kind="Trial"), "carrier's account", "trial account: only verified numbers"),
        (Standing(balance="9.99"), "carrier's balance", "9.99 USD: top it up"),
        (Standing(balance="-3.5"), "carrier's balance", "-3.5 USD: top it up"),
        (Standing(closed_countries=frozenset({"DE"})), "carrier's countries", "calls to DE are refused: allow them"),
    ],
)
def test_what_the_carrier_says_of_the_account(world: World, standing: Standing, subject: str, words: str) -> None:
    world.rest.standing = standing
    found = world.wrong()
    assert words in found.pop(subject)
    assert found == {}


@pytest.mark.parametrize(
    ("kind", "fault", "wrong"),
    [
        ("account", Fault.refuses(20003, "Authenticate", status=401), {"carrier's account": "TWILIO_AUTH_TOKEN"}),
        ("account", Fault.broken(done=False), {"carrier's account": "answered 500"}),
        ("account", Fault.html(done=False), {"carrier's account": "answered 200 without a usable document"}),
        ("account", Fault.dead(done=False), {"carrier's account": "did not answer"}),
        ("balance", Fault.html(done=False, status=404), {}),
        ("balance", Fault.too_many(), {"carrier's balance": "too many requests"}),
        ("list", Fault.broken(done=False), {"carrier's numbers": "answered 500"}),
        ("permissions", Fault.html(done=False, status=404), {}),
        ("permissions", Fault.cut(), {"carrier's countries": "without a usable document"}),
    ],
)
def test_a_carrier_that_does_not_tell(world: World, kind: str, fault: Fault, wrong: dict[str, str]) -> None:
    world.rest.faults.always(kind, fault)
    found = world.wrong()
    assert set(found) == set(wrong)
    assert all(words in found[subject] for subject, words in wrong.items())


def test_without_an_account_only_that_is_said(world: World) -> None:
    world.server.shop = None
    world.server.settings = world.server.settings.model_copy(update={"twilio_account_sid": ""})
    assert set(world.wrong()) == {"carrier's account"}


def rewritten(old: str, new: str) -> Proxy:
    """A proxy that changes path or query."""

    def change(environ: dict[str, Any]) -> None:
        raw = environ["REQUEST_URI"].replace(old, new)
        if PATH in environ["REQUEST_URI"]:
            parts = urlsplit(raw)
            environ.update(REQUEST_URI=raw, RAW_URI=raw, PATH_INFO=parts.path, QUERY_STRING=parts.query)

    return change


def answering(response: Response) -> Proxy:
    return lambda environ: response if environ["PATH_INFO"] == PATH else None


def without_header(environ: dict[str, Any]) -> None:
    environ.pop("HTTP_X_ROUTER_CHECK", None)


def with_another_body(environ: dict[str, Any]) -> None:
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0)).replace(b"Empty=&", b"")
    environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))


def by_get(environ: dict[str, Any]) -> None:
    environ["REQUEST_METHOD"] = "GET"


def with_another_host(environ: dict[str, Any]) -> None:
    environ["HTTP_HOST"] = "10.0.0.5:8000"


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        (rewritten("/voice", "/prefix/voice"), f"the server saw POST {PUBLIC}/prefix/voice/check?step=1"),
        (rewritten("/voice", ""), f"the server saw POST {PUBLIC}/check?step=1"),
        (rewritten("?step=1", ""), f"saw POST {PUBLIC}/voice/check, sent to http"),
        (rewritten("?step=1", "?step=1&from=proxy"), "let the proxy pass path and query on"),
        (with_another_body, "let the proxy pass method and body on"),
        (by_get, "the server saw GET"),
        (without_header, "drops the header X-Router-Check"),
        (answering(Response(status=301, headers={"Location": "https://elsewhere.example/"})), "answers 301 and leads"),
        (answering(Response("ok")), "answers 200, and not as this installation does"),
        (answering(Response(status=204)), "answers 204, and not as this installation does"),
        (answering(Response('{"accepted": true, "by": "00"}')), "not as this installation does"),
        (answering(Response("[" * 9000)), "not as this installation does"),
    ],
)
def test_a_proxy_that_changes_requests_is_found_and_what_the_server_saw_is_said(
    world: World, proxy: Proxy, words: str
) -> None:
    world.behind(proxy)
    found = world.wrong()
    assert set(found) == {"  signature"}
    assert words in found["  signature"]


def test_a_proxy_may_name_another_host_for_signatures_are_checked_against_the_public_address(world: World) -> None:
    world.behind(with_another_host)
    assert world.wrong() == {}


@pytest.mark.parametrize(
    "running", ["http://calls.example.net", "https://other.example", f"{PUBLIC}:8443", f"{PUBLIC}/calls"]
)
def test_a_server_that_runs_with_another_public_address_is_found(world: World, running: str) -> None:
    """Another scheme, host, port or path."""
    asking = replace_settings(world.server, public_url=PUBLIC)
    change_settings(world.server, public_url=running)
    found = world.wrong(asking)
    if running == f"{PUBLIC}:8443":  # of https Twilio's signatures leave the port out
        assert found == {}
        return
    saw = found["  signature"]
    assert f"the server saw POST {running}/voice/check?step=1" in saw
    assert "another ROUTER_PUBLIC_URL" in saw


def test_a_server_that_runs_with_other_keys_is_found(world: World) -> None:
    asking = replace_settings(world.server, twilio_auth_token=f"new-token,{TOKEN}")
    asking.shop = world.server.shop
    assert "another TWILIO_AUTH_TOKEN" in world.wrong(asking)["  signature"]
    stranger = replace_settings(world.server)
    stranger.keys = KeyRing(("k" * 20,))
    assert "another ROUTER_SECRET_KEY" in world.wrong(stranger)["  signature"]


def replace_settings(server: Server, **more: Any) -> Server:
    other = Server(server.settings.model_copy(update=more), server.database, server.keys)
    other.now = server.now
    return other


def test_only_this_installation_is_told_what_the_server_saw(world: World) -> None:
    client = world.app.test_client()
    for header in (
        "",
        ".",
        "a.b",
        f"{'0' * 32}.{'0' * 32}",
        "é.00",
        f"a.{world.server.keys.sign('other', b'a', 16).hex()}",
    ):
        answer = client.post(PATH, headers={HEADER: header})
        assert (answer.status_code, b"accepted" in answer.data) == (404, False)


@pytest.mark.parametrize(
    ("public", "proxy", "wrong"),
    [
        ("", None, {"public address": "ROUTER_PUBLIC_URL is not set"}),
        ("http://calls.example.net", None, {"public address": "is not encrypted"}),
        (PUBLIC, Response(status=502), {"  reached": "healthz answers 502: let", "  signature": "502"}),
        (
            PUBLIC,
            Response(status=302, headers={"Location": "https://u:secret@a.example/x?k=secret"}),
            {"  reached": "leads to https://a.example/x?…: let", "  signature": "302"},
        ),
    ],
)
def test_the_public_address(world: World, public: str, proxy: Response | None, wrong: dict[str, str]) -> None:
    change_settings(world.server, public_url=public)
    world.http.public = public
    shop_of(world.server)._voice = public  # type: ignore[attr-defined]  # the numbers are not what this is about
    if proxy:
        world.behind(lambda _: proxy)
    found = {
        subject: words for subject, words in world.wrong().items() if "number" not in subject and "+" not in subject
    }
    assert set(found) == set(wrong)
    assert all(words in found[subject] for subject, words in wrong.items())
    assert "secret" not in str(found)


def test_a_public_address_that_nobody_answers(world: World) -> None:
    world.http.local = "http://127.0.0.1:1"
    found = world.wrong()
    assert set(found) == {"  reached"}
    assert "is not reached. No connection" in found["  reached"]


def test_numbers_that_lead_elsewhere_or_are_not_at_the_carrier(world: World) -> None:
    account, server = world.rest.account, world.server
    (number,) = account.numbers()
    account.change(
        number["sid"], {"VoiceUrl": "https://u:secret@old.example/voice?key=secret#rc=1", "VoiceMethod": "GET"}
    )
    with server.database.writing() as session:
        project = session.scalars(select(Project)).one()
        make_number(session, project, "+12015550002").owned_elsewhere = False
    found = world.wrong()
    assert "VoiceUrl is https://old.example/voice?…#rc=1 instead of " in found[f"  {NUMBER}"]
    assert "VoiceMethod is GET instead of POST" in found[f"  {NUMBER}"]
    assert "1 of 1 do not lead here: router numbers sync --configure" in found["carrier's numbers"]
    assert "secret" not in str(found)
    assert set(world.wrong(has_database=False)) == {"carrier's numbers", f"  {NUMBER}"}, "the snapshot knows it too"
    shop_of(server).configure(number["sid"])
    assert "1 number of ours unknown to the carrier" in world.wrong()["carrier's numbers"]


def test_the_command_says_it_and_its_exit_status_tells(
    world: World, monkeypatch: pytest.MonkeyPatch, database: Database
) -> None:
    monkeypatch.setattr("router.cli.open_server", lambda: world.server)
    monkeypatch.setattr("router.carrier_checks.Outgoing", lambda *_, **__: world.http)
    world.rest.standing = Standing(balance="1")
    done = CliRunner().invoke(router, ["doctor"])
    assert done.exit_code == 1
    assert "! carrier's balance    1 USD: top it up, at zero calls stop\n" in done.output
    assert "  carrier's numbers    1 number of ours, pointed here\n" in done.output


def test_what_takes_the_place_of_addresses_and_what_a_record_does_not_tell() -> None:
    wanted = {"VoiceUrl": "https://a.example/"}
    assert (
        misdirections({"voice_url": "https://a.example/", "voice_application_sid": "", "trunk_sid": None}, wanted) == ()
    )
    assert misdirections({}, wanted) == ()
    assert misdirections({"voice_url": None}, wanted) == ("VoiceUrl is empty instead of https://a.example/",)
    (first, *_) = misdirections({"voice_application_sid": "AP1"}, wanted)
    assert first.startswith("its VoiceApplicationSid takes the place")
    assert shown_address("http://[") == shown_address("secret:thing") == "no address"


def test_a_country_that_has_no_entry_stands_under_its_calling_code() -> None:
    known = [DialledCountry("US", ("1",), True), DialledCountry("JM", ("1",), False)]
    assert [is_open_for(*asked, known) for asked in (("CA", "1"), ("JM", "1"), ("DE", "49"))] == [True, False, None]
