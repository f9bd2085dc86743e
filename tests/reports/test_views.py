"""The pages about calls: what stands there first, and at what cost."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, select

from router.db import Database
from router.integrations.models import Delivery
from router.integrations.views import DELIVERY_STATES
from router.server import Server
from router.voice.models import CallLeg
from tests.busy_project import NUMBERS
from tests.factories import lease_decision, make_call, make_visit
from tests.pages import words_of
from tests.people import NOW, Cast, sign_in

LABELS = [label for label, _ in DELIVERY_STATES.values()]


@pytest.fixture
def statements(server: Server, alice: FlaskClient) -> Callable[[str], int]:
    def count(address: str) -> int:
        alice.get(address)  # what a process asks once is asked
        seen: list[str] = []

        def note(_: Any, __: Any, statement: str, *___: Any) -> None:
            seen.append(statement)

        event.listen(server.database.engine, "before_cursor_execute", note)
        assert alice.get(address).status_code == 200
        event.remove(server.database.engine, "before_cursor_execute", note)
        return len(seen)

    return count


def test_the_overview_answers_before_anything_is_read(alice: FlaskClient, life: dict[str, int]) -> None:
    page = alice.get("/overview").text
    assert "4 calls today" in page
    assert "by this time last Monday" in page
    assert "81 %" in page
    assert "The CRM refused the key." in page
    assert "+49 1511 2345678" in page, "a missed caller who was not reached since"
    assert "None" not in page


@pytest.mark.parametrize("state", DELIVERY_STATES)
def test_a_delivery_looks_the_same_in_the_list_and_on_the_page_of_its_call(
    alice: FlaskClient, database: Database, life: dict[str, int], state: str
) -> None:
    with database.writing() as session:
        for delivery in session.scalars(select(Delivery)):
            delivery.state = state
        call_id = delivery.call_id
    label, kind = DELIVERY_STATES[state]
    for address in ("/deliveries", f"/calls/{call_id}"):
        pills = re.findall(r'class="pill pill-(\w+)"[^>]*>([^<]+)<', alice.get(address).text)
        assert [pill for pill in pills if pill[1] in LABELS] == [(kind, label)] * 3, address


def test_an_empty_project_says_what_will_stand_here(alice: FlaskClient) -> None:
    assert "The last ten calls will stand here." in alice.get("/overview").text
    assert "Every call to a tracking number will stand here" in alice.get("/calls").text


def test_the_list_shows_one_line_a_call_and_filters_in_the_address(alice: FlaskClient, life: dict[str, int]) -> None:
    page = alice.get("/calls").text
    assert "google / cpc / spring" in page
    assert "withheld" in page
    assert page.count('class="recorded"') == 1
    assert 'rel="next"' in alice.get("/calls?limit=20").text
    missed = alice.get("/calls?status=missed").text
    assert "pill-good" not in missed
    assert "+1 415-555-0190" in alice.get("/calls?q=(415) 555-0190").text
    assert "No call fits" in alice.get("/calls?q=nobody").text
    assert "yesterday" not in alice.get("/calls?period=today").text
    assert "No call fits" in alice.get("/calls?scenario=999").text
    assert alice.get("/calls?status=x&scenario=x&period=x&q=%25").status_code == 200


def test_the_receipt_says_from_where_and_how_sure_in_one_sentence(alice: FlaskClient, life: dict[str, int]) -> None:
    page = words_of(alice.get(f"/calls/{life['call_id']}"))
    sentence = "Came from <strong>google / cpc / spring</strong>, 91 % sure."
    assert sentence in page
    for said in (
        "+1 415-555-0112</span> did not answer",
        "+1 415-555-0111</span> answered",
        "+1 415-555-0111</span> ended after 1 min 35 s",
        "No, this is the first call.",
        "4 visits. The most probable one wins: 87 % sure that it was visit 10001, and 91 % sure of the source",
        "tapped the number 8 s before; its page was open",
        "its page was left 15 min before",
        "came back directly and keeps the source of 19 Nov 2026",
        "the same visitor began another visit since",
        "given to somebody else 12:57:00",
        "its page had been closed for 30 min",
        "Nobody we know",
        'The talk <span class="quiet">1 min 35 s, caller on the left, company on the right</span>',
        f'<audio controls preload="none" src="/calls/{life["call_id"]}/recordings/{life["recording_id"]}"',
        "The visit has no GA client id.",
        "given up",
    ):
        assert said in page.replace("&#39;", "'"), said
    assert "None" not in page
    sent = re.findall(r'href="(/deliveries/\d+)"', page)
    assert sent
    assert all(alice.get(one).status_code == 200 for one in sent)


def test_what_happened_within_one_second_is_told_in_its_order(
    alice: FlaskClient, database: Database, cast: Cast
) -> None:
    """A database without an order to go by answers legs by the carrier's ids, which mean nothing."""
    then = NOW + timedelta(seconds=20)
    lines = ("+14155550111", "+14155550112")
    with database.writing() as session:
        call = make_call(session, cast.project, NUMBERS[0], NOW)
        for index, line in enumerate(lines):
            values = {"call_sid": call.sid, "sid": f"CA{9 - index}", "destination": line, "status": "busy"}
            session.add(CallLeg(**values, ringing_at=[NOW, then][index], ended_at=then))
            session.flush()
    page = alice.get(f"/calls/{call.id}").text
    assert page.index("+1 415-555-0111</span> was busy") < page.index("+1 415-555-0112</span> began to ring")


def test_the_receipt_shows_the_sites_own_fields_when_there_are_any(
    alice: FlaskClient, life: dict[str, int], cast: Cast, database: Database
) -> None:
    with database.writing() as session:
        project = session.merge(cast.project)
        told, silent = (
            make_visit(session, project, number, NOW, params=params)
            for number, params in ((77701, {"plan": "<b>gold</b>", "items": "7"}), (77702, {}))
        )
        shown, empty = (
            make_call(session, project, NUMBERS[0], NOW, sid=f"CA{one.id}", **lease_decision(one))
            for one in (told, silent)
        )
    page = words_of(alice.get(f"/calls/{shown.id}"))
    assert '<span class="quiet">plan</span> &lt;b&gt;gold&lt;/b&gt;' in page
    assert page.index(">items</span> 7") < page.index(">plan</span>")
    assert "Told by the page" not in alice.get(f"/calls/{empty.id}").text


def test_the_receipt_shows_the_click_ids_that_are_kept(
    alice: FlaskClient, life: dict[str, int], cast: Cast, database: Database
) -> None:
    with database.writing() as session:
        project = session.merge(cast.project)
        clicked, plain = (
            make_visit(session, project, number, NOW, click_ids=ids)
            for number, ids in ((77701, {"sccid": "7b3a-<b>", "gclid": "Cj0KCQ"}), (77702, {}))
        )
        shown, empty = (
            make_call(session, project, NUMBERS[0], NOW, sid=f"CA{one.id}", **lease_decision(one))
            for one in (clicked, plain)
        )
    page = alice.get(f"/calls/{shown.id}").text
    assert '<span class="quiet">gclid</span> Cj0KCQ' in page
    assert '<span class="quiet">sccid</span> 7b3a-&lt;b&gt;' in page
    assert "<dt>Click id</dt>" not in alice.get(f"/calls/{empty.id}").text


def test_the_receipt_says_that_consent_was_not_given(
    alice: FlaskClient, life: dict[str, int], cast: Cast, database: Database
) -> None:
    with database.writing() as session:
        visit = make_visit(session, session.merge(cast.project), 77701, NOW, click_ids={}, limited=True)
        call = make_call(session, session.merge(cast.project), NUMBERS[0], NOW, **lease_decision(visit))
    assert "no cookie, no click ids" in alice.get(f"/calls/{call.id}").text
    assert "no cookie, no click ids" not in alice.get(f"/calls/{life['call_id']}").text


def test_each_rule_is_told_in_words(alice: FlaskClient, database: Database, cast: Cast, life: dict[str, int]) -> None:
    """R7"""
    no = {"applies": False}
    repeat = {"rule": "repeat", "applies": True, "first_call_id": life["call_id"], "visit_by": "lease"}
    source = {"channel": "offline", "source": "flyer", "medium": "print", "campaign": "", "term": "", "content": ""}
    told = [
        ([repeat], {"rule": "repeat", "source": source, "source_confidence": 0.9}, "90 % sure, as on this caller"),
        (
            [{"rule": "repeat"} | no, {"rule": "static", "applies": True}],
            {"rule": "static", "source": source},
            "certain",
        ),
        ([{"rule": "lease"} | no, {"rule": "none", "applies": True}], {}, "Where the call came from is not known."),
        ([{"rule": "repeat"} | no], {"caller": None}, "withheld"),
        ([{"rule": "repeat"} | no], {"caller": None, "forgotten_id": 1}, "the caller&#39;s number is forgotten."),
        ([{"rule": "repeat", "first_call_id": 1} | no], {}, "where that first call came from is not known"),
        (
            [{"rule": "repeat", "applies": True, "earlier_call_id": life["call_id"]}],
            {"rule": "repeat", "source": source, "source_confidence": 0.9},
            "90 % sure, as on an earlier call",
        ),
        (
            [{"rule": "repeat", "earlier_call_id": 1, "because": "own visit"} | no],
            {},
            "Yes, but this call&#39;s own visit says where it came from.",
        ),
        (
            [{"rule": "repeat", "first_call_id": 1, "because": "every call by its own visit"} | no],
            {},
            "this project credits every call to its own visit.",
        ),
    ]
    for minute, (steps, values, expected) in enumerate(told):
        with database.writing() as session:
            at = NOW - timedelta(minutes=minute, hours=9)
            call = make_call(session, cast.project, NUMBERS[0], at, **(values | {"decision": {"steps": steps}}))
        page = alice.get(f"/calls/{call.id}").text
        assert expected in page
        assert "None" not in page
        assert not ("forgotten_id" in values and re.search("withheld", page, re.IGNORECASE))


def test_a_call_in_progress_and_one_without_a_scenario_do_no_harm(
    alice: FlaskClient, database: Database, cast: Cast
) -> None:
    with database.writing() as session:
        going = make_call(
            session, cast.project, NUMBERS[0], NOW, status="in_progress", ended_at=None, talk_seconds=None
        )
        lost = make_call(session, cast.project, NUMBERS[2], NOW, scenario_id=77, destination="sip:desk@pbx.example.com")
    assert "is on the line" in alice.get(f"/calls/{going.id}").text
    assert "the number was in no scenario" in alice.get(f"/calls/{lost.id}").text


def test_r7_a_call_of_an_earlier_release_tells_what_is_known_of_it(
    alice: FlaskClient, database: Database, cast: Cast
) -> None:
    with database.writing() as session:
        visit = make_visit(session, cast.project, 10001, NOW)
        old = lease_decision(visit)
        old["candidates"] = [{"visit": 10001, "visit_id": visit.id, "probability": 0.9, "state": "open"}]
        old |= {"shares": None}
        call = make_call(session, cast.project, NUMBERS[0], NOW, **old)
    page = alice.get(f"/calls/{call.id}").text
    assert "its page was open" in page
    assert "None" not in page
    assert "0 ± 0" not in alice.get("/reports").text


def test_another_projects_call_does_not_exist(client: FlaskClient, cast: Cast, life: dict[str, int]) -> None:
    sign_in(client, cast.charlie)
    assert client.get(f"/calls/{life['call_id']}").status_code == 404
    assert "+1 415" not in client.get("/calls").text


def test_no_page_takes_more_statements_for_more_calls(
    statements: Callable[[str], int], database: Database, cast: Cast, life: dict[str, int]
) -> None:
    addresses = ("/overview", "/calls", f"/calls/{life['call_id']}")
    before = [statements(address) for address in addresses]
    with database.writing() as session:
        for index in range(60):
            visit = make_visit(session, cast.project, 20000 + index, NOW)
            at = NOW - timedelta(seconds=index)
            make_call(session, cast.project, NUMBERS[0], at, caller=f"+1415555{3000 + index}", **lease_decision(visit))
    assert [statements(address) for address in addresses] == before
    assert max(before) <= 18


def test_r7_the_receipt_tells_earlier_visits_from_nobody_we_know(
    alice: FlaskClient, database: Database, cast: Cast
) -> None:
    """What the shares of the sources have more than the listed visits belongs to visits before the last 50,
    or as many as were set when the call came."""
    with database.writing() as session:
        visit = make_visit(session, cast.project, 10_001, NOW)
        decided = lease_decision(visit) | {"shares": [[visit.source_key, 0.97, visit.id]]}
        crowded = make_call(session, cast.project, NUMBERS[0], NOW, **decided).id
        usual = make_call(session, cast.project, NUMBERS[1], NOW, **lease_decision(visit)).id
        given = {"given": {"candidate_leases": 7, "candidate_days": 30}}
        few = make_call(
            session, cast.project, NUMBERS[2], NOW, **(decided | {"decision": decided["decision"] | given})
        ).id
    page = words_of(alice.get(f"/calls/{crowded}"))
    assert "visits that were shown the number before the last 50" in page
    assert "10 %" in page
    assert "3 %" in page
    assert "Earlier visits" not in alice.get(f"/calls/{usual}").text
    assert "before the last 7<" in words_of(alice.get(f"/calls/{few}"))
