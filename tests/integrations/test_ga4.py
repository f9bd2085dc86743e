"""The GA4 goal: Google's rules, one event a call, nothing without a client id, nothing too late, never twice."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from router.accounts.models import Project
from router.integrations.ga4 import deadline, event_moment
from router.integrations.models import Delivery, Integration
from router.integrations.outbox import fan_out
from router.scenarios.models import Scenario
from tests.factories import lease_decision, make_call, make_integration, make_visit
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


def test_a_time_out_after_sending_counts_as_sent(office: Office, google: Google, collector: Receiver) -> None:
    given_up = threading.Event()

    def slow(request: Any) -> Any:
        answer = google.collect(request)
        given_up.wait(60)
        return answer

    collector.answer = slow
    end_call(office, {})
    office.worker(total_seconds=0.3, clock=standing_still).run_once(NOW)
    assert outcome(office)[0] == "done"
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


def test_past_its_deadline_it_is_expired(office: Office, google: Google, collector: Receiver) -> None:
    end_call(office, {})
    office.worker().run_once(SESSION + timedelta(hours=24, seconds=1))
    assert outcome(office)[0] == "expired"
    assert google.bodies == []


def test_the_deadline_is_the_sessions_24_hours_or_the_calls_72() -> None:
    session = str(int(SESSION.timestamp()))
    assert deadline(NOW, session) == SESSION + timedelta(hours=24)
    assert deadline(NOW, "") == NOW + timedelta(hours=72)
    assert deadline(NOW, "9999999999999999") == NOW + timedelta(hours=72)


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
