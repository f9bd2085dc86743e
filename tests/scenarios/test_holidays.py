"""Holidays out of calendars of all kinds, also hostile ones; their pages; and that routing knows them."""

import io
import time
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from router.accounts.models import AuditEntry
from router.scenarios.holidays import MOST_DAYS, MOST_EVENTS, UnreadableCalendar, read_calendar
from router.scenarios.models import Holiday
from router.server import Server
from router.voice.following import routing_of
from tests.factories import make_number
from tests.people import Cast, bearer, sign_in

TODAY = date(2026, 11, 23)


def calendar(*events: str, head: str = "") -> bytes:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", *head.splitlines()]
    for event in events:
        lines += [
            "BEGIN:VEVENT",
            f"UID:{len(lines)}@example.com",
            "DTSTAMP:20260101T000000Z",
            *event.splitlines(),
            "END:VEVENT",
        ]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


def days(*events: str, zone: str = "Europe/Berlin", head: str = "") -> list[str]:
    return [day.isoformat() for day in sorted(read_calendar(calendar(*events, head=head), zone, TODAY).days)]


CHRISTMAS = "DTSTART;VALUE=DATE:20261225\nSUMMARY:Christmas Day"


@pytest.mark.parametrize(
    ("event", "zone", "wanted"),
    [
        (CHRISTMAS, "Europe/Berlin", ["2026-12-25"]),
        (CHRISTMAS, "America/Los_Angeles", ["2026-12-25"]),
        (
            "DTSTART;VALUE=DATE:20261224\nDTEND;VALUE=DATE:20261227",
            "Europe/Berlin",
            ["2026-12-24", "2026-12-25", "2026-12-26"],
        ),
        ("DTSTART;VALUE=DATE:20261224\nDURATION:P2D", "Europe/Berlin", ["2026-12-24", "2026-12-25"]),
        ("DTSTART:20261224T230000Z\nDTEND:20261225T230000Z", "Europe/Berlin", ["2026-12-25"]),
        ("DTSTART:20261224T230000Z\nDTEND:20261225T230000Z", "Europe/London", []),
        (
            "DTSTART;TZID=Europe/Berlin:20261225T000000\nDTEND;TZID=Europe/Berlin:20261226T000000",
            "Europe/Berlin",
            ["2026-12-25"],
        ),
        ("DTSTART:20261225T000000\nDTEND:20261227T120000", "Asia/Tokyo", ["2026-12-25", "2026-12-26"]),
        ("DTSTART:20261225T090000\nDTEND:20261225T170000", "Europe/Berlin", []),
        (
            "DTSTART;TZID=Europe/Berlin:20270328T000000\nDTEND;TZID=Europe/Berlin:20270329T000000",
            "Europe/Berlin",
            ["2027-03-28"],
        ),
        ("DTSTART;VALUE=DATE:20001225\nRRULE:FREQ=YEARLY", "UTC", ["2026-12-25", "2027-12-25", "2028-12-25"]),
        ("DTSTART;VALUE=DATE:20001225\nRRULE:FREQ=YEARLY;UNTIL=20271225", "UTC", ["2026-12-25", "2027-12-25"]),
        ("DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;COUNT=2", "UTC", ["2026-12-25", "2027-12-25"]),
        (
            "DTSTART;VALUE=DATE:20261126\nRRULE:FREQ=YEARLY;BYMONTH=11;BYDAY=4TH;COUNT=2",
            "UTC",
            ["2026-11-26", "2027-11-25"],
        ),
        (
            "DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY\nEXDATE;VALUE=DATE:20271225",
            "UTC",
            ["2026-12-25", "2028-12-25"],
        ),
        ("DTSTART;VALUE=DATE:20261225\nRDATE;VALUE=DATE:20261228", "UTC", ["2026-12-25", "2026-12-28"]),
        (f"{CHRISTMAS}\nSTATUS:CANCELLED", "UTC", []),
        ("DTSTART;VALUE=DATE:19991225", "UTC", []),
        ("DTSTART;VALUE=DATE:20991225", "UTC", []),
    ],
)
def test_whole_days_of_a_calendar_are_holidays(event: str, zone: str, wanted: list[str]) -> None:
    assert days(event, zone=zone) == wanted


def test_an_instance_that_was_moved_is_where_it_was_moved_to() -> None:
    rule = "DTSTART;VALUE=DATE:20261201\nRRULE:FREQ=MONTHLY;COUNT=3"
    data = calendar(rule, "DTSTART;VALUE=DATE:20270104\nRECURRENCE-ID;VALUE=DATE:20270101")
    data = (
        data.replace(b"UID:12@", b"UID:4@")
        .replace(b"UID:3@", b"UID:4@")
        .replace(b"UID:9@", b"UID:4@")
        .replace(b"UID:10@", b"UID:4@")
    )
    read = read_calendar(data, "UTC", TODAY)
    assert [day.isoformat() for day in sorted(read.days)] == ["2026-12-01", "2027-01-04", "2027-02-01"]


@pytest.mark.parametrize(
    "event",
    [
        "SUMMARY:no beginning",
        "DTSTART;VALUE=DATE:20261399",
        "DTSTART:nonsense",
        "DTSTART;VALUE=DATE:00010101",
        "DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20261220",
        "DTSTART;VALUE=DATE:20261225\nDTEND;VALUE=DATE:20991220",
        "DTSTART;VALUE=DATE:20261225\nDURATION:P99999999D",
        "DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=SECONDLY",
        "DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;BYMONTH=13",
        "DTSTART;VALUE=DATE:20261225\nRRULE:FREQ=YEARLY;INTERVAL=0",
        "DTSTART;VALUE=DATE:20261225\nRRULE:nonsense",
        "DTSTART;TZID=Nowhere/Land:20261225T090000",
    ],
)
def test_an_event_that_makes_no_sense_is_left_out_with_why_and_costs_no_other(event: str) -> None:
    began = time.process_time()
    read = read_calendar(calendar(event, CHRISTMAS), "UTC", TODAY)
    assert set(read.days) == {date(2026, 12, 25)}
    assert len(read.left_out) == 1
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no iCalendar file"),
        (b"%PDF-1.4", "no iCalendar file"),
        (b"BEGIN:VCALENDAR" + b"x" * 2_000_000, "larger than 1 MB"),
        (b"BEGIN:VCALENDAR\r\n" + b"BEGIN:VEVENT\r\n" * (MOST_EVENTS + 1), f"more than {MOST_EVENTS} events"),
        (b"BEGIN:VCALENDAR\r\nno colon\r\nEND:VCALENDAR\r\n", "cannot be read"),
        (calendar("DTSTART;VALUE=DATE:20261101\nRRULE:FREQ=DAILY"), f"more than {MOST_DAYS} holidays"),
    ],
)
def test_a_file_that_is_none_or_too_much_is_refused_with_what_to_do(data: bytes, said: str) -> None:
    with pytest.raises(UnreadableCalendar, match=said):
        read_calendar(data, "UTC", TODAY)


LINES = calendar(CHRISTMAS, "DTSTART;VALUE=DATE:20001225\nRRULE:FREQ=YEARLY").split(b"\r\n")
ODD_LINES = [b"\x00", b"END:VEVENT", b"RRULE:FREQ=WEEKLY;BYDAY=XX", b"DTSTART:99999999T999999Z", b"no colon"]


@given(st.lists(st.sampled_from([*LINES, *ODD_LINES]), max_size=20))
def test_never_does_a_file_raise_anything_else(lines: list[bytes]) -> None:
    with suppress(UnreadableCalendar):
        read_calendar(b"\r\n".join([b"BEGIN:VCALENDAR", *lines, b"END:VCALENDAR"]), "UTC", TODAY)


def test_people_bring_a_calendar_and_programs_change_days(cast: Cast, client: FlaskClient, server: Server) -> None:
    sign_in(client, cast.alice)
    with server.database.writing() as session:
        make_number(session, cast.project, "+12125552001")
    before = routing_of(server)
    before.refresh()

    def send(data: bytes, **more: str) -> Any:
        return client.post("/settings/holidays/file", data={"file": (io.BytesIO(data), "days.ics"), **more})

    meeting = "DTSTART:20261225T090000Z\nDTEND:20261225T100000Z\nSUMMARY:<b>Meeting</b>"
    page = send(
        calendar("DTSTART;VALUE=DATE:20301225\nSUMMARY:Far", "DTSTART;VALUE=DATE:20270501\nSUMMARY:Labour Day", meeting)
    )
    assert page.status_code == 200
    assert "Saturday, 1 May 2027" in page.text
    assert "“&lt;b&gt;Meeting&lt;/b&gt;” lasts only a part of a day" in page.text
    refused = send(b"nothing")
    assert refused.status_code == 422
    assert "no iCalendar file" in refused.text
    there, headers = f"/api/v1/projects/{cast.project.id}/holidays", bearer(cast.alice_token)
    made = client.post(there, json={"day": "2026-12-25", "name": "Christmas"}, headers=headers)
    assert made.status_code == 201
    assert client.post(there, json={"day": "2026-13-45"}, headers=headers).get_json()["field"] == "day"
    assert client.post(there, json={"day": "2026-12-25"}, headers=bearer(cast.bob_token)).status_code == 403
    before.refresh()
    route = before.snapshot.routes["+12125552001"] if before.snapshot else None
    assert route is not None
    assert route.holidays == {date(2027, 5, 1), date(2026, 12, 25)}
    assert send(calendar(CHRISTMAS), replace="1").status_code == 302
    (left,) = client.get(there, headers=headers).get_json()["items"]
    assert (left["day"], left["name"]) == ("2026-12-25", "Christmas Day")
    assert client.delete(f"{there}/{left['id']}", headers=headers).status_code == 204
    with server.database.reading() as session:
        assert session.scalars(select(Holiday)).all() == []
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["holidays added", "holidays added", "holidays added", "holiday removed"]
