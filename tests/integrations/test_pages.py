"""/deliveries and its API: is everything delivered, to whom not, since when, why; and once more, please."""

from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select

from router.accounts.models import AuditEntry
from router.db import Database
from router.integrations.models import Delivery, DeliveryAttempt, Integration, IntegrationProblem, ReceiverHealth
from router.voice.models import Call
from tests.factories import CALLER
from tests.furnished import a_dead_delivery
from tests.people import NOW, Cast, bearer, sign_in

pytestmark = pytest.mark.one_database


@pytest.fixture
def dead(app: Flask, database: Database, cast: Cast) -> int:
    app.extensions["router"].now = lambda: NOW
    with database.writing() as session:
        return int(a_dead_delivery(session, cast)["delivery_id"])


def state(database: Database, delivery_id: int) -> str:
    with database.reading() as session:
        return session.get_one(Delivery, delivery_id).state


def page(client: FlaskClient, path: str = "/deliveries") -> str:
    answer = client.get(path)
    assert answer.status_code == 200
    return answer.text


def test_an_empty_page_says_what_will_stand_here(client: FlaskClient, cast: Cast) -> None:
    html = page(sign_in(client, cast.alice))
    assert "Nothing had to be delivered yet." in html
    assert "will stand here" in html


def test_the_page_says_first_who_does_not_get_everything_since_when_and_why(
    client: FlaskClient, database: Database, cast: Cast, dead: int
) -> None:
    html = page(sign_in(client, cast.alice))
    assert "1 receiver does not get everything" in html
    assert "<strong>Webhook, hooks.example.com</strong>" in html
    assert "The receiver answered 410." in html
    assert "today 13:00" in html
    with database.writing() as session:
        session.get_one(Delivery, dead).state = "done"
    assert "Everything is delivered." in page(client)
    with database.writing() as session:
        values: dict[str, Any] = {"failures": 5, "failing_since": NOW, "open_until": NOW, "last_error": "No route."}
        session.add(ReceiverHealth(receiver="webhook:1:hooks.example.com", **values))
    assert "No route." in page(client)


def test_the_list_is_filtered_by_state(client: FlaskClient, cast: Cast, dead: int) -> None:
    sign_in(client, cast.alice)
    assert f"/deliveries/{dead}" in page(client, "/deliveries?state=dead")
    assert f'href="/deliveries/{dead}"' not in page(client, "/deliveries?state=done")
    assert client.get("/deliveries?state=lost").status_code == 422


def test_a_delivery_shows_its_attempts(client: FlaskClient, database: Database, cast: Cast, dead: int) -> None:
    with database.writing() as session:
        session.add(
            DeliveryAttempt(
                delivery_id=dead, at=NOW, milliseconds=41, status=410, outcome="dead", message="Gone <b>away</b>."
            )
        )
    html = page(sign_in(client, cast.alice), f"/deliveries/{dead}")
    assert "41 ms" in html
    assert "Gone &lt;b&gt;away&lt;/b&gt;." in html


def test_r10_the_pages_say_what_a_crm_lacks(client: FlaskClient, database: Database, cast: Cast, dead: int) -> None:
    why = "Odoo has no user “<b>bob</b>”: the lead belongs to nobody"
    with database.writing() as session:
        delivery = session.get_one(Delivery, dead)
        delivery.state, delivery.reason, delivery.done_at = "done", why, NOW
        delivery.reference = {
            "warning": why,
            "missing": [{"what": "manager"}],
            "match": "its phone number",
            "record": 7,
        }
        integration = session.get_one(Integration, delivery.integration_id)
        integration.config = integration.config | {"manager": "<b>bob</b>"}
        problem = {"project_id": cast.project.id, "integration_id": integration.id, "what": "manager"}
        session.add(IntegrationProblem(**problem, name="<b>bob</b>", why=why, since=NOW))
    escaped = "Odoo has no user “&lt;b&gt;bob&lt;/b&gt;”: the lead belongs to nobody"
    html = page(sign_in(client, cast.alice))
    assert "a CRM lacks something that they name" in html
    assert html.count(escaped) == 2  # on top, and in the delivery's line
    assert "today 13:00" in html
    html = page(client, f"/deliveries/{dead}")
    assert html.count(escaped) == 1
    assert "its phone number" in html
    assert "{&#39;what&#39;" not in html
    assert escaped in page(client, f"/calls/{database_call(database, dead)}")
    assert escaped not in page(sign_in(client, cast.charlie))


def database_call(database: Database, delivery_id: int) -> int:
    with database.reading() as session:
        return session.get_one(Delivery, delivery_id).call_id


def test_an_admin_sends_a_dead_delivery_again(client: FlaskClient, database: Database, cast: Cast, dead: int) -> None:
    answer = sign_in(client, cast.alice).post(f"/deliveries/{dead}/replay", follow_redirects=True)
    assert "being sent again" in answer.text
    assert state(database, dead) == "pending"
    with database.reading() as session:
        assert "delivery replayed" in session.scalars(select(AuditEntry.action)).all()


def test_an_admin_sends_all_dead_deliveries_of_a_receiver_again(
    client: FlaskClient, database: Database, cast: Cast, dead: int
) -> None:
    sign_in(client, cast.alice).post("/deliveries/replay", data={"destination": "webhook:1:hooks.example.com"})
    assert state(database, dead) == "pending"


@pytest.mark.parametrize(
    ("query", "is_there"),
    [
        ("receiver=webhook:1:hooks.example.com", True),
        ("receiver=webhook:1:other.example.com", False),
        (f"caller={CALLER.removeprefix('+')}", True),
        ("caller=(415) 555-2671", True),
        ("caller=5552671", True),
        ("caller=415", False),
        ("caller=%2B14155550199", False),
        ("call={sid}", True),
        ("call={call}", True),
        ("call=999999", False),
        ("q={sid}", True),
        ("q={call}", True),
        ("q=nobody", False),
        ("q=" + "9" * 40, False),
        ("state=dead&q=2671&receiver=webhook:1:hooks.example.com", True),
    ],
)
def test_the_list_is_filtered_by_receiver_caller_and_call(
    client: FlaskClient, database: Database, cast: Cast, dead: int, query: str, is_there: bool
) -> None:
    with database.reading() as session:
        call = session.get_one(Call, session.get_one(Delivery, dead).call_id)
    query = query.format(sid=call.sid, call=call.id)
    html = page(sign_in(client, cast.alice), f"/deliveries?{query}")
    assert (f'href="/deliveries/{dead}"' in html) is is_there
    assert ("No delivery fits this filter." in html) is not is_there
    if not query.startswith("q="):
        path = f"/api/v1/projects/{cast.project.id}/deliveries?{query}"
        listed: Any = client.get(path, headers=bearer(cast.bob_token)).json
        assert [one["id"] for one in listed["items"]] == [dead] * is_there


def test_what_was_given_up_since_a_day_is_sent_again(
    client: FlaskClient, database: Database, cast: Cast, dead: int
) -> None:
    sign_in(client, cast.alice)
    assert client.post("/deliveries/replay", data={"since": "yesterday"}).status_code == 422
    client.post("/deliveries/replay", data={"since": "2026-11-24"})
    assert state(database, dead) == "dead"
    said = client.post("/deliveries/replay", data={"since": "2026-11-23", "destination": ""}, follow_redirects=True)
    assert "1 delivery will be sent again." in said.text
    assert state(database, dead) == "pending"


def test_a_waiting_delivery_is_tried_at_once(client: FlaskClient, database: Database, cast: Cast, dead: int) -> None:
    with database.writing() as session:
        delivery = session.get_one(Delivery, dead)
        delivery.state, delivery.attempts, delivery.next_at = "pending", 3, NOW + timedelta(hours=5)
    assert "Try now" in page(sign_in(client, cast.alice), f"/deliveries/{dead}")
    said = client.post(f"/deliveries/{dead}/retry", follow_redirects=True).text
    assert "It is tried at once." in said
    with database.reading() as session:
        delivery = session.get_one(Delivery, dead)
        assert (delivery.next_at, delivery.attempts, delivery.state) == (NOW, 3, "pending")
    path = f"/api/v1/projects/{cast.project.id}/deliveries/{dead}/retry"
    assert client.post(path, headers=bearer(cast.alice_token)).status_code == 200
    assert client.post(path, headers=bearer(cast.charlie_token)).status_code == 404


def test_a_receiver_that_was_switched_off_is_switched_on(
    client: FlaskClient, database: Database, cast: Cast, dead: int
) -> None:
    receiver = "webhook:1:hooks.example.com"
    with database.writing() as session:
        values: dict[str, Any] = {"failures": 9, "failing_since": NOW, "open_until": None, "last_error": "No route."}
        session.add(ReceiverHealth(receiver=receiver, switched_off_at=NOW, **values))
    html = page(sign_in(client, cast.alice))
    assert "is switched off since" in html
    assert "Switch on again" in html
    assert client.post("/deliveries/switch-on", data={"receiver": "webhook:2:x"}).status_code == 404
    assert (
        "Webhook, hooks.example.com is on"
        in client.post("/deliveries/switch-on", data={"receiver": receiver}, follow_redirects=True).text
    )
    with database.reading() as session:
        assert session.scalars(select(ReceiverHealth)).all() == []


def test_the_answer_of_an_attempt_can_be_read(client: FlaskClient, database: Database, cast: Cast, dead: int) -> None:
    with database.writing() as session:
        said = {"message": "The receiver answered 500.", "answer": "<b>Not</b> now" + "." * 1900}
        session.add(DeliveryAttempt(delivery_id=dead, at=NOW, milliseconds=41, status=500, outcome="dead", **said))
    assert "&lt;b&gt;Not&lt;/b&gt; now..." in page(sign_in(client, cast.alice), f"/deliveries/{dead}")
    path = f"/api/v1/projects/{cast.project.id}/deliveries/{dead}/attempts"
    listed: Any = client.get(path, headers=bearer(cast.bob_token)).json
    newest = listed["items"][0]
    assert (newest["status"], newest["answer"][:13]) == (500, "<b>Not</b> no")
    assert client.get(path, headers=bearer(cast.charlie_token)).status_code == 404


def test_a_viewer_may_look_and_not_replay(client: FlaskClient, database: Database, cast: Cast, dead: int) -> None:
    assert "Send again" not in page(sign_in(client, cast.bob), f"/deliveries/{dead}")
    assert client.post(f"/deliveries/{dead}/replay").status_code == 403
    assert client.post("/deliveries/replay", data={"destination": "x"}).status_code == 403
    assert client.post("/deliveries/switch-on", data={"receiver": "x"}).status_code == 403
    assert client.post(f"/deliveries/{dead}/retry").status_code == 403
    assert state(database, dead) == "dead"


def test_charlie_sees_nothing_of_it(client: FlaskClient, database: Database, cast: Cast, dead: int) -> None:
    sign_in(client, cast.charlie)
    assert "hooks.example.com" not in page(client)
    assert client.get(f"/deliveries/{dead}").status_code == 404
    assert client.post(f"/deliveries/{dead}/replay").status_code == 404
    client.post("/deliveries/replay", data={"destination": "webhook:1:hooks.example.com"})
    base = f"/api/v1/projects/{cast.project.id}/deliveries"
    other = f"/api/v1/projects/{cast.other_project.id}/deliveries"
    for path in (f"{base}/{dead}/replay", f"{other}/{dead}/replay"):
        assert client.post(path, headers=bearer(cast.charlie_token)).status_code == 404
    assert client.get(base, headers=bearer(cast.charlie_token)).status_code == 404
    assert client.get(other, headers=bearer(cast.charlie_token)).json == {"items": [], "next": None}
    assert state(database, dead) == "dead"


def test_the_api_lists_deliveries_newest_first_and_by_cursor(
    client: FlaskClient, database: Database, cast: Cast, dead: int
) -> None:
    with database.writing() as session:
        newer = a_dead_delivery(session, cast)["delivery_id"]
    base = f"/api/v1/projects/{cast.project.id}/deliveries"
    first: Any = client.get(f"{base}?limit=1&state=dead", headers=bearer(cast.bob_token)).json
    second: Any = client.get(f"{base}?limit=1&next={first['next']}", headers=bearer(cast.bob_token)).json
    assert [one["id"] for one in first["items"] + second["items"]] == [newer, dead]
    assert second["next"] is None
    assert second["items"][0] == {
        "id": dead,
        "event": "call.ended",
        "state": "dead",
        "reason": "The receiver answered 410.",
        "attempts": 1,
        "done_at": None,
        "slot": "webhook_end",
        "kind": "webhook",
        "scenario": second["items"][0]["scenario"],
        "message": second["items"][0]["message"],
        "call": second["items"][0]["call"],
        "call_sid": second["items"][0]["call_sid"],
        "text_message": None,
        "destination": "webhook:1:hooks.example.com",
        "created_at": "2026-11-23T12:00:00.000Z",
        "next_at": None,
        "reference": {},
    }
    assert CALLER not in str(first)


def test_the_api_replays(client: FlaskClient, database: Database, cast: Cast, dead: int) -> None:
    path = f"/api/v1/projects/{cast.project.id}/deliveries/{dead}/replay"
    assert client.post(path, headers=bearer(cast.bob_token)).status_code == 403
    answer = client.post(path, headers=bearer(cast.alice_token))
    assert answer.status_code == 200
    assert answer.json is not None
    assert (answer.json["state"], answer.json["attempts"]) == ("pending", 0)


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("query", ["state=lost", "limit=0", "limit=x", "limit=201", "next=%20", "next=zzz"])
def test_the_api_refuses_what_it_does_not_know(client: FlaskClient, cast: Cast, query: str) -> None:
    path = f"/api/v1/projects/{cast.project.id}/deliveries?{query}"
    assert client.get(path, headers=bearer(cast.alice_token)).status_code == 422


def test_a_long_list_costs_no_more_statements_than_a_short_one(
    client: FlaskClient, app: Flask, database: Database, cast: Cast, dead: int
) -> None:
    def statements() -> int:
        seen: list[str] = []
        engine = app.extensions["router"].database.engine

        def count(*args: Any) -> None:
            seen.append(args[2])

        event.listen(engine, "before_cursor_execute", count)
        page(client)
        event.remove(engine, "before_cursor_execute", count)
        return len(seen)

    sign_in(client, cast.alice)
    page(client)  # connections are made once
    short = statements()
    with database.writing() as session:
        for _ in range(5):
            a_dead_delivery(session, cast)
    assert statements() == short


def test_a_receiver_that_takes_messages_again_is_not_said_to_fail(
    client: FlaskClient, database: Database, cast: Cast, dead: int
) -> None:
    html = page(sign_in(client, cast.alice))
    assert "did not take 1 delivery" in html
    assert "It does not fail now." in html
    with database.writing() as session:
        values: dict[str, Any] = {"failures": 1, "failing_since": NOW, "last_error": "No route."}
        session.add(ReceiverHealth(receiver="webhook:1:hooks.example.com", **values))
    assert "fails since" in page(client)
