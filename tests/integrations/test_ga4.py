"""The GA4 goal: Google's rules, one event a call, nothing without a client id, nothing too late, never twice."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from router.accounts.models import Project
from router.integrations.ga4 import Ga4Settings, event_moment, name_stream, session_of, value_of
from router.integrations.models import Delivery, Integration
from router.integrations.outbox import fan_out
from router.scenarios.models import Scenario
from router.web.api import parse
from router.web.errors import Problem
from tests.factories import lease_decision, make_call, make_integration, make_scenario, make_visit
from tests.integrations.conftest import Office
from tests.integrations.google import Google
from tests.integrations.receiver import Receiver, receiver
from tests.people import NOW
from tests.waiting import eventually, standing_still

SESSION = NOW - timedelta(minutes=1)
GA = {"client_id": "1162820436.1749482504", "session_id": str(int(SESSION.timestamp()))}


@pytest.fixture
def google() -> Google:
    return Google()


@pytest.fixture
def collector(office: Office, google: Google) -> Iterator[Receiver]:
    with receiver(google.collect) as state:
        with office.database.writing() as session:
            scenario = session.get_one(Scenario, office.scenario_id)
            config = {"measurement_id": "G-ABC1234567", "endpoint": state.url + "/mp/collect", "event": "Call"}
            make_integration(session, scenario, "ga4", "ga4", sealed=office.server.keys.seal("s3cret"), config=config)
        yield state


def end_call(office: Office, visit: dict[str, Any] | None = None, **more: Any) -> None:
    with office.database.writing() as session:
        project = session.get_one(Project, office.project_id)
        fields: dict[str, Any] = {"ended_at": NOW, "talk_seconds": 63}
        if visit is not None:
            fields |= lease_decision(make_visit(session, project, **({"number": 10234, "ga": GA} | visit)))
        call = make_call(session, session.get_one(Scenario, office.scenario_id), **(fields | more))
        fan_out(session, call, "call.ended", NOW)


def outcome(office: Office) -> tuple[str, str]:
    with office.database.reading() as session:
        row = session.scalars(select(Delivery)).one()
        return row.state, row.reason


def test_one_event_by_googles_rules(office: Office, google: Google, collector: Receiver) -> None:
    end_call(office, {})
    office.worker().run_once(NOW)
    assert outcome(office) == ("done", "")
    assert google.problems == []
    assert google.queries == [{"measurement_id": ["G-ABC1234567"], "api_secret": ["s3cret"]}]
    assert google.bodies == [
        {
            "client_id": "1162820436.1749482504",
            "timestamp_micros": int(NOW.timestamp()) * 1_000_000,
            "events": [
                {
                    "name": "Call",
                    "params": {
                        "session_id": str(int(SESSION.timestamp())),
                        "engagement_time_msec": 1,
                        "call_id": "CA" + "0" * 32,
                        "call_status": "answered",
                        "call_duration": 63,
                        "visit_number": "10234",
                        "call_source": "google",
                        "call_medium": "cpc",
                        "call_campaign": "spring",
                        "first_call": 1,
                    },
                }
            ],
        }
    ]


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("ga", [{}, {"client_id": None}, {"client_id": "abc"}, {"client_id": "1.2.3"}])
def test_without_a_client_id_it_is_skipped_and_says_why(
    office: Office, google: Google, collector: Receiver, ga: dict[str, Any]
) -> None:
    end_call(office, {"ga": ga})
    office.worker().run_once(NOW)
    state, reason = outcome(office)
    assert state == "skipped"
    assert reason.startswith("no client_id")
    assert google.bodies == []


def test_a_call_without_a_visit_is_skipped(office: Office, google: Google, collector: Receiver) -> None:
    end_call(office, None)
    office.worker().run_once(NOW)
    assert outcome(office)[0] == "skipped"


def test_a_time_out_after_sending_is_unconfirmed_and_not_sent_again(
    office: Office, google: Google, collector: Receiver
) -> None:
    given_up = threading.Event()

    def slow(request: Any) -> Any:
        answer = google.collect(request)
        given_up.wait(60)
        return answer

    collector.answer = slow
    end_call(office, {})
    office.worker(total_seconds=0.3, clock=standing_still).run_once(NOW)
    assert outcome(office)[0] == "unconfirmed"
    given_up.set()
    eventually(lambda: google.events)
    office.worker().run_once(NOW + timedelta(hours=1))
    assert len(google.events) == 1


def test_a_refused_connection_is_tried_again(office: Office, google: Google, collector: Receiver) -> None:
    with office.database.writing() as session:
        row = session.scalars(select(Integration)).one()
        row.config = row.config | {"endpoint": "http://127.0.0.1:9/mp/collect"}
    end_call(office, {})
    office.worker().run_once(NOW)
    assert outcome(office)[0] == "pending"


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize(("status", "state"), [(400, "dead"), (403, "dead"), (429, "pending"), (503, "pending")])
def test_google_asks_not_to_repeat_what_it_refused(
    office: Office, google: Google, collector: Receiver, status: int, state: str
) -> None:
    collector.answer = lambda request: (status, {}, b"")
    end_call(office, {})
    office.worker().run_once(NOW)
    assert outcome(office)[0] == state


def test_later_than_72_hours_after_the_call_it_is_expired(office: Office, google: Google, collector: Receiver) -> None:
    end_call(office, {})
    office.worker().run_once(NOW + timedelta(hours=72, seconds=1))
    assert outcome(office)[0] == "expired"
    assert google.bodies == []


def test_later_than_24_hours_after_the_session_began_it_counts_without_the_session_at_its_true_time(
    office: Office, google: Google, collector: Receiver
) -> None:
    end_call(office, {"last_sign_at": NOW - timedelta(minutes=50)})
    office.worker().run_once(SESSION + timedelta(hours=24, seconds=1))
    assert outcome(office)[0] == "done"
    assert google.problems == []
    (body,) = google.bodies
    assert body["timestamp_micros"] == int(NOW.timestamp()) * 1_000_000
    params = body["events"][0]["params"]
    assert "session_id" not in params
    assert "call_time" not in params


NUMBER = str(int(SESSION.timestamp()))


@pytest.mark.parametrize(
    ("ga", "after", "session"),
    [
        ({"session_id": NUMBER}, timedelta(hours=23), NUMBER),
        ({"session_id": NUMBER}, timedelta(hours=24), ""),
        ({"session_id": "77"}, timedelta(0), ""),
        ({"session_id": "9999999999999999"}, timedelta(hours=60), "9999999999999999"),
        ({"session_id": NUMBER, "G-ABC": "5", "G-OTHER": NUMBER}, timedelta(0), ""),
        ({"session_id": "5", "G-ABC": NUMBER, "G-OTHER": "5"}, timedelta(0), NUMBER),
        ({"session_id": NUMBER, "G-OTHER": NUMBER}, timedelta(0), ""),
        ({"session_id": str(int((NOW + timedelta(hours=1)).timestamp()))}, timedelta(hours=2), ""),
        ({"session_id": "<script>"}, timedelta(0), ""),
        ({}, timedelta(0), ""),
    ],
)
def test_the_session_is_the_streams_own_while_google_attributes_to_it(
    ga: dict[str, str], after: timedelta, session: str
) -> None:
    assert session_of(ga, "G-ABC", NOW, NOW + after) == session


def test_of_two_streams_on_a_page_each_gets_its_own_session(
    office: Office, google: Google, collector: Receiver
) -> None:
    other = str(int(SESSION.timestamp()) - 5)
    end_call(office, {"ga": GA | {"session_id": other, "G-OTHER": other, "G-ABC1234567": NUMBER}})
    office.worker().run_once(NOW)
    assert google.events[0]["params"]["session_id"] == NUMBER


@pytest.mark.parametrize("database_kind", ["sqlite"])
@pytest.mark.parametrize("client", ["amp-0123456789_-AbC", "FPID2.2.rnZ%2Fab%3Dcd.1712345678"])
def test_ids_of_amp_pages_and_of_server_side_containers_are_client_ids(
    office: Office, google: Google, collector: Receiver, client: str
) -> None:
    end_call(office, {"ga": {"client_id": client}})
    office.worker().run_once(NOW)
    assert outcome(office)[0] == "done"
    assert google.bodies[0]["client_id"] == client


def change_settings(office: Office, **more: Any) -> None:
    with office.database.writing() as session:
        row = session.scalars(select(Integration)).one()
        row.config = row.config | more


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_value_and_the_consent_are_told_as_the_settings_say(
    office: Office, google: Google, collector: Receiver
) -> None:
    change_settings(office, value="12.5", value_per="minute", currency="EUR", consent="denied")
    end_call(office, {})
    office.worker().run_once(NOW)
    assert google.problems == []
    (body,) = google.bodies
    assert body["consent"] == {"ad_user_data": "DENIED", "ad_personalization": "DENIED"}
    params = body["events"][0]["params"]
    assert (params["value"], params["currency"]) == (13.13, "EUR")  # 63 s


@pytest.mark.parametrize(
    ("config", "outcome", "seconds", "value"),
    [
        ({"value": "25", "currency": "EUR"}, "answered", 0, 25.0),
        ({"value": "25,50", "currency": "EUR", "value_per": "call"}, "answered", 600, 25.5),
        ({"value": "25", "currency": "JPY", "value_per": "minute"}, "answered", 90, 38.0),
        ({"value": "25", "currency": "EUR"}, "missed", 0, None),
        ({"value": "25", "currency": "EUR"}, "blocked", 0, None),
        ({"value": "", "currency": "EUR"}, "answered", 60, None),
        ({}, "answered", 60, None),
    ],
)
def test_an_answered_call_has_the_value_of_the_settings(
    config: dict[str, str], outcome: str, seconds: int, value: float | None
) -> None:
    assert value_of(config, outcome, seconds) == value


@pytest.mark.parametrize(
    ("typed", "field", "words"),
    [
        ({"measurement_id": "UA-12345-1"}, "measurement_id", "This is a Universal Analytics property"),
        ({"measurement_id": "GTM-ABC123"}, "measurement_id", "Tag Manager"),
        ({"measurement_id": "AW-123"}, "measurement_id", "Google Ads"),
        ({"measurement_id": "123456789"}, "measurement_id", "looks like G-XXXXXXXXXX"),
        ({"event": "my call"}, "event", "letters, digits and underscores"),
        ({"event": "session_start"}, "event", "keeps this event name"),
        ({"value": "a lot", "currency": "EUR"}, "value", "Write an amount"),
        ({"value": "-1", "currency": "EUR"}, "value", "less than nothing"),
        ({"value": "1"}, "currency", "with its currency"),
        ({"currency": "EURO"}, "currency", "no currency"),
        ({"value": "1.50", "currency": "JPY"}, "currency", "Write an amount"),
        ({"consent": "maybe"}, "consent", ""),
        ({"endpoint": "https://www.google-analytics.com/mp/collect?x=1"}, "endpoint", "ends with its path"),
    ],
)
def test_a_mistake_is_told_in_peoples_words(typed: dict[str, str], field: str, words: str) -> None:
    with pytest.raises(Problem) as refused:
        parse(Ga4Settings, {"measurement_id": "G-ABC1234567"} | typed)
    assert refused.value.field == field
    assert words in refused.value.detail
    assert "pattern" not in refused.value.detail


def test_a_typed_id_is_read_as_people_copy_it() -> None:
    assert parse(Ga4Settings, {"measurement_id": " g-abc1234567 "}).measurement_id == "G-ABC1234567"


@pytest.mark.parametrize("database_kind", ["sqlite"])
def test_the_tag_is_told_the_stream_where_there_is_one(office: Office, collector: Receiver) -> None:
    def stream() -> str:
        with office.database.writing() as session:
            name_stream(session, office.project_id)
            return session.get_one(Project, office.project_id, populate_existing=True).ga_stream

    assert stream() == "G-ABC1234567"
    with office.database.writing() as session:
        project = session.get_one(Project, office.project_id)
        scenario = make_scenario(session, project, 0, title="Another site")
        make_integration(session, scenario, "ga4", "ga4", config={"measurement_id": "G-OTHER"})
    assert stream() == ""
    with office.database.writing() as session:
        session.scalars(select(Integration).order_by(Integration.id)).first().removed_at = NOW  # type: ignore[union-attr] # both are there
    assert stream() == "G-OTHER"


def test_a_call_after_the_session_is_said_to_be_in_it(office: Office, google: Google, collector: Receiver) -> None:
    end_call(office, {"last_sign_at": NOW - timedelta(minutes=50)})
    office.worker().run_once(NOW)
    (body,) = google.bodies
    moment = datetime.fromtimestamp(body["timestamp_micros"] / 1_000_000, UTC)
    assert moment == NOW - timedelta(minutes=50) + timedelta(seconds=1)
    assert body["events"][0]["params"]["call_time"] == "2026-11-23T12:00:00.000Z"


def test_a_call_during_the_visit_keeps_its_time() -> None:
    assert event_moment(NOW, "1", NOW + timedelta(minutes=5)) == NOW
    assert event_moment(NOW, "", NOW - timedelta(minutes=5)) == NOW


def test_hostile_values_stay_inside_googles_limits(office: Office, google: Google, collector: Receiver) -> None:
    long = {"channel": "paid", "source": "s" * 200, "medium": "“é”" * 60, "campaign": "\x07 +7"}
    end_call(office, {"ga": {"client_id": "1.2", "session_id": "<script>"}}, source=long)
    office.worker().run_once(NOW)
    assert google.problems == []
    assert outcome(office)[0] == "done"
