"""Accounts of projects at the carrier: whose requests their tokens prove, what is rented there, and what is never told."""

import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from twilio.request_validator import RequestValidator

from router.accounts.audit import Actor, Change
from router.accounts.models import AuditEntry, Project
from router.carriers import SIMULATED_ACCOUNT, shop_of
from router.carriers.accounts import (
    AccountValues,
    check_accounts,
    read_tokens,
    remove_account,
    save_account,
    shop_of_project,
)
from router.carriers.base import NotForUs
from router.carriers.models import CarrierAccount
from router.carriers.simulator.call import CallerScript, PhoneCall
from router.carriers.simulator.call import CallRecording as CarriersRecording
from router.carriers.simulator.call_book import CallBook
from router.integrations.settings import reseal
from router.lib.crypto import KeyRing
from router.scenarios.models import TrackingNumber
from router.scenarios.numbers.purchase import buy_now
from router.scenarios.numbers.release import advance_releases, begin_release
from router.scenarios.numbers.search import search_numbers
from router.scenarios.numbers.sync import sync_numbers
from router.server import Server
from router.voice.following import RoutingFollower, routing_of
from router.voice.models import Call, CallRecording
from router.voice.reconciliation import reconcile
from router.voice.recording_jobs import advance_recordings
from router.voice.snapshot import parse_snapshot
from router.web.errors import Problem
from tests.carriers.rest import Carrier, running_carrier
from tests.factories import (
    CALLER,
    COMPANY_LINE,
    NOON,
    NUMBER,
    make_call,
    make_number,
    make_project,
    make_recording,
    make_scenario,
)
from tests.people import Cast, bearer, sign_in
from tests.voice.carrier import ANNA, BASE

SID = "AC" + "a" * 32
TOKEN, NEXT = "first-token-of-a", "second-token-of-a"
ELSEWHERE = "+12125550199"


def give_account(server: Server, project: Project, sid: str = SID, token: str = TOKEN, **more: Any) -> None:
    with server.database.writing() as session:
        change = Change(session, server, project, Actor("alice@example.com"), server.now())
        save_account(change, AccountValues(account_sid=sid, auth_token=token, **more))
    routing_of(server).refresh()


class Shops:
    """Two companies with a number each; the first has an account of its own."""

    def __init__(self, client: FlaskClient, server: Server) -> None:
        self.client, self.server = client, server
        with server.database.writing() as session:
            self.project, self.other = make_project(session), make_project(session)
            make_scenario(session, self.project, [NUMBER], destinations=[COMPANY_LINE])
            make_scenario(session, self.other, [ELSEWHERE], destinations=[COMPANY_LINE])
        give_account(server, self.project)

    def ask(self, path: str, token: str = TOKEN, **form: str) -> Any:
        values = {"CallSid": "CA1", "AccountSid": SID, "From": ANNA, "CallStatus": "ringing"} | form
        signature = RequestValidator(token).compute_signature(BASE + path, values)
        return self.client.post(path, data=values, headers={"X-Twilio-Signature": signature})

    def status_of(self, path: str, token: str = TOKEN, **form: str) -> int:
        return int(self.ask(path, token, **form).status_code)


@pytest.fixture
def shops(client: FlaskClient, server: Server) -> Shops:
    return Shops(client, server)


def test_an_accounts_token_is_good_for_its_projects_numbers_only(shops: Shops) -> None:
    ours = shops.server.settings.twilio_auth_token
    assert shops.status_of("/voice/inbound", To=NUMBER) == 200
    assert COMPANY_LINE in shops.ask("/voice/inbound", To=NUMBER).text
    for path in ("/voice/inbound", "/voice/dial/CA1/1", "/voice/gather/CA1/1", "/voice/fallback", "/voice/status"):
        assert shops.status_of(path, To=ELSEWHERE) == 403, path
    assert shops.status_of("/voice/sms", MessageSid="SM1", To=ELSEWHERE) == 403
    assert shops.status_of("/voice/sms", MessageSid="SM1", To=NUMBER) == 200
    assert shops.status_of("/voice/dial/CA2/1", To=NUMBER) == 403, "another call in the address than in the form"
    # the token of one account proves nothing of another
    assert shops.status_of("/voice/inbound", TOKEN, To=NUMBER, AccountSid="AC1") == 403
    # the server's account is good for all
    assert shops.status_of("/voice/inbound", ours, To=ELSEWHERE, AccountSid="AC1") == 200
    assert shops.status_of("/voice/inbound", ours, To=NUMBER, AccountSid="AC1") == 200, "rented before"


def test_no_combination_of_token_account_and_number_opens_anothers_number(shops: Shops) -> None:
    """The server's token is the operator's and opens all; a project's opens what is its own, under its own SID."""
    theirs, b_token = "AC" + "b" * 32, "the-token-of-b"
    give_account(shops.server, shops.other, theirs, b_token)
    give_account(shops.server, shops.project, token=TOKEN, next_auth_token=NEXT)
    operator = shops.server.settings.twilio_auth_token
    opens = {(TOKEN, SID, NUMBER), (NEXT, SID, NUMBER), (b_token, theirs, ELSEWHERE)}
    paths = ("/voice/inbound", "/voice/dial/CA1/1", "/voice/fallback")
    for path, token, sid, number in product(
        paths, (TOKEN, NEXT, b_token, operator, "nobodys"), (SID, theirs, "AC1", ""), (NUMBER, ELSEWHERE)
    ):
        wanted = 200 if token == operator or (token, sid, number) in opens else 403
        assert shops.status_of(path, token, To=number, AccountSid=sid) == wanted, (path, token, sid, number)


def test_a_project_that_types_the_operators_sid_keeps_no_call_out(shops: Shops) -> None:
    give_account(shops.server, shops.project, "AC" + "0" * 32, "a-token-that-is-wrong")
    ours = shops.server.settings.twilio_auth_token
    assert shops.status_of("/voice/inbound", ours, To=ELSEWHERE, AccountSid="AC" + "0" * 32) == 200


def test_both_tokens_are_accepted_while_one_is_changed_and_only_the_new_one_afterwards(shops: Shops) -> None:
    assert shops.status_of("/voice/inbound", NEXT, To=NUMBER) == 403
    give_account(shops.server, shops.project, token=TOKEN, next_auth_token=NEXT)
    assert [shops.status_of("/voice/inbound", token, To=NUMBER) for token in (TOKEN, NEXT)] == [200, 200]
    give_account(shops.server, shops.project, token=NEXT)
    assert [shops.status_of("/voice/inbound", token, To=NUMBER) for token in (TOKEN, NEXT)] == [403, 200]


def test_two_projects_share_an_account_each_with_what_it_was_told(shops: Shops) -> None:
    give_account(shops.server, shops.other, token="another-token-of-b")
    assert shops.status_of("/voice/inbound", "another-token-of-b", To=ELSEWHERE) == 200
    assert shops.status_of("/voice/inbound", "another-token-of-b", To=NUMBER) == 403
    give_account(shops.server, shops.other, token=TOKEN)
    assert [shops.status_of("/voice/inbound", To=number) for number in (NUMBER, ELSEWHERE)] == [200, 200]


def test_callbacks_without_a_number_bring_back_what_ties_their_call_to_the_project(shops: Shops) -> None:
    document = shops.ask("/voice/inbound", To=NUMBER).text
    path = document.split(f'statusCallback="{BASE}')[1].split("#")[0].replace("&amp;", "&")
    assert path.startswith("/voice/leg/CA1?")
    assert "account=" in path
    leg = {"CallSid": "CL1", "ParentCallSid": "CA1", "To": COMPANY_LINE}
    assert shops.status_of(path, **leg) == 204
    assert shops.status_of(path.replace("CA1", "CA2"), **leg) == 403
    for forged in ("/voice/leg/CA1", "/voice/leg/CA1?account=", "/voice/leg/CA1?account=zz", f"{path}00"):
        assert shops.status_of(forged, **leg) == 403, forged
    assert shops.status_of("/voice/recording", RecordingSid="RE1") == 403
    tied = path.partition("account=")[2]
    assert shops.status_of(f"/voice/recording?account={tied}", RecordingSid="RE1") == 204


def test_under_another_key_the_servers_account_is_left_and_readyz_says_so(shops: Shops) -> None:
    server = shops.server
    assert shops.client.get("/readyz").json["carrier_accounts"] == "1 of projects, readable"  # type: ignore[index]  # None would fail the test
    with server.database.writing() as session:
        session.scalars(select(CarrierAccount)).one().sealed = KeyRing(("another key" * 3,)).seal(json.dumps([TOKEN]))
        session.get_one(Project, shops.project.id).list_version += 1
    routing_of(server).refresh()
    assert shops.status_of("/voice/inbound", To=NUMBER) == 403
    assert shops.status_of("/voice/inbound", server.settings.twilio_auth_token, To=NUMBER, AccountSid="AC1") == 200
    said = shops.client.get("/readyz")
    assert said.status_code == 503
    assert f"project {shops.project.id}" in said.json["carrier_accounts"]  # type: ignore[index]  # None would fail the test


def test_a_new_secret_key_leaves_no_snapshot_with_tokens_under_the_old_one(shops: Shops) -> None:
    server, (old,) = shops.server, shops.server.keys.keys
    server.keys = KeyRing(("a new secret key " * 2, old))
    assert reseal(server, server.now()) == 1
    routing_of(server).refresh()
    ((_, _, sealed),) = routing_of(server).snapshot.accounts  # type: ignore[union-attr]  # None would fail the test
    assert read_tokens(KeyRing(server.keys.keys[:1]), sealed) == [TOKEN]


def test_the_file_of_a_machine_has_the_tokens_sealed(shops: Shops, tmp_path: Path) -> None:
    server = shops.server
    data = (server.settings.data_dir / "routing" / "snapshot").read_bytes()
    assert SID.encode() in data
    assert TOKEN.encode() not in data
    follower = RoutingFollower(server.database, tmp_path / "none", server.keys, server.now)
    follower.snapshot = parse_snapshot(data, server.keys)
    assert [each.project_id for each in follower.accounts[SID]] == [shops.project.id]


@pytest.fixture
def two_accounts(server: Server, tmp_path: Path) -> Iterator[tuple[Project, Carrier, Carrier]]:
    """A project with an account of its own, at the carrier's hosts, and the server's account beside it."""
    with running_carrier(tmp_path / "own", "token-of-a") as own, running_carrier(tmp_path / "servers") as servers:
        server.settings = server.settings.model_copy(update={"carrier_url": own.url})
        server.shop = servers.shop
        with server.database.writing() as session:
            project = make_project(session)
        give_account(server, project, SIMULATED_ACCOUNT, "token-of-a")
        yield project, own, servers


def number_of(server: Server, e164: str) -> TrackingNumber:
    with server.database.reading() as session:
        return session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == e164)).one()


def test_r5_a_number_stays_at_the_account_at_which_it_was_bought(
    server: Server, two_accounts: tuple[Project, Carrier, Carrier]
) -> None:
    project, own, servers = two_accounts
    first, second = [offer.e164 for offer in search_numbers(server, project.id, "US")[:2]]
    buy_now(server, project, "alice@example.com", first, server.now())
    assert (own.bought(), servers.bought()) == ({first: 1}, {})
    assert number_of(server, first).carrier_account == SIMULATED_ACCOUNT
    with server.database.writing() as session:
        change = Change(session, server, project, Actor("alice@example.com"), server.now())
        with pytest.raises(Problem, match="Give them back first"):
            remove_account(change)
        with pytest.raises(Problem, match="Give them back first"):
            save_account(change, AccountValues(account_sid=SID, auth_token=TOKEN))
        other = make_project(session)
    buy_now(server, other, "bob@example.com", second, server.now())
    assert (own.bought(), servers.bought()) == ({first: 1}, {second: 1})
    synced = sync_numbers(server, server.now())
    assert (synced.both, synced.sentences) == (2, [])
    with server.database.writing() as session:
        change = Change(session, server, project, Actor("alice@example.com"), server.now())
        begin_release(change, session.get_one(TrackingNumber, number_of(server, first).id))
    while advance_releases(server, server.now()):
        pass
    assert [carrier.shop.owned() for carrier in (own, servers)] == [[], servers.shop.owned()]
    assert number_of(server, first).released_at is not None
    assert servers.shop.find(second)
    with server.database.writing() as session:
        own_number = make_number(session, project, ELSEWHERE, carrier_account=SIMULATED_ACCOUNT)
        remove_account(Change(session, server, project, Actor("alice@example.com"), server.now()))
        session.refresh(own_number)
        assert own_number.carrier_account == "", "owned elsewhere: it holds no account fast"


def test_the_simulated_carrier_of_a_process_has_accounts_of_projects_too(server: Server) -> None:
    with server.database.writing() as session:
        project = make_project(session)
    give_account(server, project)
    assert check_accounts(server, server.now()) == 1
    with server.database.reading() as session:
        assert session.scalars(select(CarrierAccount.state)).one() == "accepted"
    (offer,) = search_numbers(server, project.id, "US", limit=1)
    buy_now(server, project, "alice@example.com", offer.e164, server.now())
    assert number_of(server, offer.e164).carrier_account == SID
    assert shop_of_project(server, project.id).find(offer.e164)
    assert shop_of(server).find(offer.e164) is None


def keep_call(carrier: Carrier, sid: str, to: str, *recordings: str) -> None:
    """The carrier's book has a call that was answered and has ended, with recordings."""
    ended = NOON + timedelta(minutes=1)
    call = PhoneCall(CALLER, to, CallerScript(), NOON, carrier.sid, sid=sid, status="completed", ended_at=ended)
    call.recordings += [CarriersRecording("DialVerb", 1, NOON, each, 44, ended) for each in recordings]
    CallBook(carrier.account.path).keep(call)


def test_recordings_are_fetched_and_deleted_at_the_account_of_the_number(
    server: Server, two_accounts: tuple[Project, Carrier, Carrier]
) -> None:
    project, own, servers = two_accounts
    server.now = lambda: NOON + timedelta(minutes=5)
    with server.database.writing() as session:
        there = make_number(session, project, NUMBER, owned_elsewhere=False, carrier_account=SIMULATED_ACCOUNT)
        before = make_number(session, project, ELSEWHERE, owned_elsewhere=False)
        for number, sid in ((there, "RE0"), (before, "RE1")):
            call = make_call(session, project, number.e164, number_id=number.id, sid=f"CA{sid}")
            make_recording(session, call, sid=sid, channels=1)
    keep_call(own, "CARE0", NUMBER, "RE0")
    keep_call(servers, "CARE1", ELSEWHERE, "RE1")
    while advance_recordings(server, server.now()):
        pass
    with server.database.reading() as session:
        kept = session.scalars(select(CallRecording).order_by(CallRecording.sid)).all()
    assert [(each.sid, each.state, each.is_at_carrier) for each in kept] == [
        ("RE0", "kept", False),
        ("RE1", "kept", False),
    ]
    assert CallBook(own.account.path).find_recording("RE0") is None
    assert CallBook(servers.account.path).find_recording("RE1") is None


def test_r12_of_a_projects_own_books_only_its_own_calls_are_written(
    server: Server, two_accounts: tuple[Project, Carrier, Carrier]
) -> None:
    project, own, servers = two_accounts
    with server.database.writing() as session:
        other = make_project(session)
        make_scenario(session, project, [NUMBER], destinations=[COMPANY_LINE])
        make_scenario(session, other, [ELSEWHERE], destinations=[COMPANY_LINE])
        late = make_call(
            session, other, ELSEWHERE, sid="CA-theirs", started_at=NOON, status="in_progress", ended_at=None
        )
    keep_call(own, "CA-ours", NUMBER)
    keep_call(own, "CA-forged", ELSEWHERE)
    keep_call(own, "CA-theirs", NUMBER)
    keep_call(servers, "CA-servers", ELSEWHERE)
    now = NOON + timedelta(hours=1)
    done = reconcile(server, NOON - timedelta(hours=1), now)
    assert (sorted(done.written), done.completed, done.failed) == (["CA-ours", "CA-servers"], [], [])
    with server.database.reading() as session:
        written = {call.sid: call.project_id for call in session.scalars(select(Call))}
        assert session.get_one(Call, late.id).ended_at is None
    assert written == {"CA-ours": project.id, "CA-servers": other.id, "CA-theirs": other.id}


def test_the_worker_asks_the_carrier_whether_it_accepts_an_account(
    server: Server, two_accounts: tuple[Project, Carrier, Carrier]
) -> None:
    project, _, _ = two_accounts

    def verdict() -> tuple[str, str]:
        assert check_accounts(server, server.now()) == 1
        with server.database.reading() as session:
            account = session.scalars(select(CarrierAccount)).one()
            return account.state, account.reason

    assert verdict() == ("accepted", "")
    assert check_accounts(server, server.now()) == 0
    give_account(server, project, SIMULATED_ACCOUNT, "a-wrong-token")
    state, reason = verdict()
    assert state == "refused"
    assert "20003" in reason
    assert "a-wrong-token" not in reason
    server.settings = server.settings.model_copy(update={"carrier_url": "http://127.0.0.1:1"})
    give_account(server, project, SIMULATED_ACCOUNT, "token-of-a2")
    assert verdict()[0] == "unchecked", "nobody was reached"
    server.keys = KeyRing(("yet another key" * 2,))
    with pytest.raises(NotForUs, match="ROUTER_SECRET_KEY"):
        shop_of_project(server, project.id)


def test_tokens_go_in_by_page_and_program_and_never_come_out(client: FlaskClient, cast: Cast, server: Server) -> None:
    path = f"/api/v1/projects/{cast.project.id}/carrier-account"
    admin, viewer = bearer(cast.alice_token), bearer(cast.bob_token)
    assert client.get(path, headers=viewer).status_code == 404
    assert client.put(path, json={"account_sid": SID}, headers=admin).json["field"] == "auth_token"  # type: ignore[index]  # None would fail the test
    body = {"account_sid": SID, "auth_token": TOKEN, "next_auth_token": NEXT}
    assert client.put(path, json=body, headers=viewer).status_code == 403
    put = client.put(path, json=body, headers=admin)
    assert put.status_code == 200
    assert put.json["has_next_auth_token"]
    assert put.json["state"] == "unchecked"
    for wrong in (
        {"account_sid": "AC1"},
        {"account_sid": SID, "auth_token": "a,b,c,d,e,f"},
        {"account_sid": SID, "x": 1},
    ):
        assert client.put(path, json=wrong, headers=admin).status_code == 422
    sign_in(client, cast.alice)
    page = client.get("/settings/carrier")
    assert page.status_code == 200
    assert SID in page.text
    kept = client.post("/settings/carrier", data={"account_sid": SID, "auth_token": "", "next_auth_token": ""})
    assert kept.status_code == 302
    with server.database.reading() as session:
        account = session.scalars(select(CarrierAccount)).one()
        assert read_tokens(server.keys, account.sealed) == [TOKEN, NEXT]
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "carrier_account.saved").order_by(AuditEntry.id)
        ).all()
    assert [entry.detail["auth_token"] for entry in entries] == ["changed", "kept"]
    told = page.text + put.text + client.get(path, headers=viewer).text + str([entry.detail for entry in entries])
    assert TOKEN not in told
    assert NEXT not in told
    forgotten = {"account_sid": SID, "forget_next": True}
    assert client.put(path, json=forgotten, headers=admin).json["has_next_auth_token"] is False  # type: ignore[index]  # None would fail the test
    assert client.delete(path, headers=admin).status_code == 204
    assert client.get(path, headers=admin).status_code == 404
