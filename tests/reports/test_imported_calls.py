"""R13: calls that were brought over stand in the lists where they belong in time, and their receipt says what they are."""

from datetime import timedelta

from flask.testing import FlaskClient

from router.db import Database
from tests.factories import GOOGLE, make_call
from tests.pages import words_of
from tests.people import NOW, Cast, bearer, sign_in

OLD = {
    "rule": "imported",
    "status": "unknown",
    "source": GOOGLE,
    "decision": {"steps": [{"rule": "imported", "applies": True}]},
    "answered_at": None,
    "talk_seconds": None,
    "ring_seconds": None,
    "destination": "",
}


def test_r13_an_imported_call_stands_below_later_ones_though_it_became_known_after_them(
    client: FlaskClient, database: Database, cast: Cast
) -> None:
    with database.writing() as session:
        new = make_call(session, cast.project, "+14155550120", NOW)
        old = [
            make_call(session, cast.project, "+14155550120", NOW - timedelta(days=day), **OLD) for day in (30, 20, 40)
        ]
    wanted = [new.id, old[1].id, old[0].id, old[2].id]
    address, found, cursor = f"/api/v1/projects/{cast.project.id}/calls?limit=2", [], ""
    while cursor is not None:
        page = client.get(address + f"&next={cursor}", headers=bearer(cast.alice_token)).get_json()
        found += [one["id"] for one in page["items"]]
        cursor = page["next"]
    assert found == wanted


def test_r13_the_receipt_of_an_imported_call_says_what_it_is(
    client: FlaskClient, database: Database, cast: Cast
) -> None:
    with database.writing() as session:
        old = make_call(session, cast.project, "+14155550120", NOW - timedelta(days=30), **OLD)
        again = {"rule": "repeat", "source": GOOGLE, "source_confidence": None}
        new = make_call(session, cast.project, "+14155550120", NOW, **again)
    sign_in(client, cast.alice)
    page = words_of(client.get(f"/calls/{old.id}"))
    assert "before this server was in use" in page
    assert "as the service before said" in page
    assert "Nobody: the call was brought over from another service." in page
    assert "The call ended" not in page
    assert "as the service before said of this caller&#39;s first call" in client.get(f"/calls/{new.id}").text
    assert "brought over" in client.get("/calls").text
