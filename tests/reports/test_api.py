"""Calls and visits as programs read them."""

from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import update
from werkzeug.test import TestResponse

from router.attribution.models import Visit
from router.db import Database
from tests.busy_project import NUMBERS
from tests.people import Cast, bearer
from tests.scenarios.test_api_description import Described


def ask(client: FlaskClient, cast: Cast, path: str, **args: Any) -> TestResponse:
    return client.get(f"/api/v1/projects/{cast.project.id}{path}", query_string=args, headers=bearer(cast.alice_token))


def items(client: FlaskClient, cast: Cast, **args: Any) -> list[dict[str, Any]]:
    answer = ask(client, cast, "/calls", limit=200, **args)
    assert answer.status_code == 200, answer.text
    return list((answer.json or {})["items"])


def test_calls_come_newest_first_and_page_by_page(client: FlaskClient, cast: Cast, life: dict[str, int]) -> None:
    every = items(client, cast)
    assert [call["id"] for call in every] == sorted((call["id"] for call in every), reverse=True)
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = ask(client, cast, "/calls", limit=20, next=cursor).json or {}
        seen += [call["id"] for call in page["items"]]
        cursor = page["next"]
    assert seen == [call["id"] for call in every]


def test_filters_select_calls(client: FlaskClient, cast: Cast, life: dict[str, int]) -> None:
    every = items(client, cast)

    def chosen(**wanted: Any) -> list[int]:
        return [call["id"] for call in every if all(call[name] == value for name, value in wanted.items())]

    def given(**args: Any) -> list[int]:
        return [call["id"] for call in items(client, cast, **args)]

    assert given(status="missed") == chosen(status="missed") != []
    assert given(caller="(415) 555-0190") == chosen(caller="+14155550190") != []
    assert given(number=NUMBERS[2]) == chosen(number=NUMBERS[2]) != []
    assert given(scenario=life["scenario_id"]) == chosen(scenario=life["scenario_id"]) != []
    assert given(status="missed", number=NUMBERS[2]) == chosen(status="missed", number=NUMBERS[2])
    today = [call["id"] for call in every if call["started_at"] >= "2026-11-22T23:00:00"]
    assert given(since="2026-11-23") == given(since="2026-11-23T00:00:00+01:00") == today != []
    assert given(until="2026-11-22") == [call["id"] for call in every if call["id"] not in today] != []


def test_r3_a_deleted_scenarios_calls_stay_as_they_are(client: FlaskClient, cast: Cast, life: dict[str, int]) -> None:
    before = items(client, cast, scenario=life["scenario_id"])
    assert before
    scenario = f"/api/v1/projects/{cast.project.id}/scenarios/{life['scenario_id']}"
    assert client.delete(scenario, headers=bearer(cast.alice_token)).status_code == 204
    assert client.get(scenario, headers=bearer(cast.alice_token)).status_code == 404
    assert items(client, cast, scenario=life["scenario_id"]) == before


def test_a_filter_that_cannot_be_used_is_named(client: FlaskClient, cast: Cast, life: dict[str, int]) -> None:
    for name, junk in (
        ("status", "lost"),
        ("caller", "nobody"),
        ("number", "1"),
        ("scenario", "-1"),
        ("since", "yesterday"),
        ("until", "2026-13-01"),
        ("until", "9999-12-31"),
        ("since", "0001-01-01"),
        ("next", "!"),
        ("limit", "0"),
    ):
        answer = ask(client, cast, "/calls", **{name: junk})
        assert (answer.status_code, (answer.json or {})["field"]) == (422, name)


def test_one_call_and_its_visit(client: FlaskClient, cast: Cast, life: dict[str, int]) -> None:
    call = ask(client, cast, f"/calls/{life['call_id']}").json or {}
    assert call["visit"] == life["number"]
    assert call["source"]["campaign"] == "spring"
    assert call["attribution"]["rule"] == "lease"
    visit = ask(client, cast, f"/visits/{life['number']}").json or {}
    assert visit["visit"] == life["number"]
    assert visit["source"]["source"] == "google"
    assert [one["e164"] for one in visit["numbers"]] == [NUMBERS[0]]
    assert visit["source_at"] == visit["started_at"]
    assert [one["left"] for one in visit["spans"]] == [False, False]
    assert visit["spans"][0]["started_at"] < visit["spans"][1]["started_at"]
    assert life["call_id"] in [one["id"] for one in visit["calls"]]


def test_what_is_not_there_is_404(client: FlaskClient, cast: Cast, life: dict[str, int]) -> None:
    for path in ("/calls/999999", f"/calls/{10**30}", "/visits/1", f"/visits/{10**30}"):
        assert ask(client, cast, path).status_code == 404
    own = f"/api/v1/projects/{cast.other_project.id}"
    for path in (f"/calls/{life['call_id']}", f"/visits/{life['number']}"):
        assert client.get(own + path, headers=bearer(cast.charlie_token)).status_code == 404


def test_calls_and_visits_answer_as_described_with_the_sites_own_fields(
    client: FlaskClient, cast: Cast, life: dict[str, int], database: Database
) -> None:
    with database.writing() as session:
        session.execute(update(Visit).values(params={"plan": "gold"}, limited=True))
    api = Described(client, cast.alice_token, cast)
    calls = api.send("GET", "/calls?limit=200")["items"]
    told = next(call for call in calls if call["visit"])
    assert (told["params"], next(call for call in calls if not call["visit"])["params"]) == ({"plan": "gold"}, {})
    assert api.send("GET", "/calls/{call_id}", call_id=told["id"]) == told
    visit = api.send("GET", "/visits/{number}", number=told["visit"])
    assert (visit["params"], visit["limited"]) == ({"plan": "gold"}, True)
