"""R13: which column of a call log is what, by its head and by what stands in it."""

import pytest

from router.scenarios.importing.tables import UnreadableFile
from router.voice.importing.calls import Choices
from router.voice.importing.columns import HEADS, OUTGOING, UnknownColumn, plain_head, rank
from tests.voice.importing.making import AT, CALLER, OURS, SECOND, read, said, table

# heads as services and telephone systems export them; what stands in a column decides where a head says too little
LOGS = {
    "the documented one": {"number": OURS, "caller": CALLER, "started_at": AT, "source": "google", "medium": "cpc"},
    "CallRail": {
        "Call Status": "Answered Call", "Number Name": "Web", "Tracking Number": OURS, "Source": "Google Ads",
        "Start Time": AT, "Duration (seconds)": "35", "Name": "Bob", "Phone Number": CALLER, "First-Time Caller": "1",
    },
    "CallRail's webhook": {
        "callercity": "Berlin", "callernum": CALLER, "callsource": "google", "datetime": AT, "destinationnum": "+493012345678",
        "trackingnum": OURS,
    },
    "CallTrackingMetrics": {
        "CallId": "1", "Name": "Bob", "Customer #": CALLER, "Tracking #": OURS, "Tracking # Label": "Web", "Tracking Source": "Google",
        "DateTime": AT, "Date": "2026-11-03", "Day": "Tuesday", "Hour of Day": "14", "Receiving Number": "+493012345678",
    },
    "WhatConverts": {
        "Lead Type": "Phone Call", "Date": AT, "Timezone": "Europe/Berlin", "Tracking Number": OURS,
        "Destination Number": "+493012345678", "Phone Number": CALLER, "Source": "google", "Medium": "cpc",
    },
    "Twilio": {
        "Call Sid": "CA1", "Direction": "Inbound", "From": CALLER, "To": OURS, "Start Time": "Tue, 03 Nov 2026 13:05:00 +0000",
        "End Time": "Tue, 03 Nov 2026 13:06:00 +0000", "Duration": "60", "Status": "Completed", "Price": "-0.01",
    },
    "three columns of Twilio": {"To": OURS, "From": CALLER, "Start Time": AT},
    "Roistat": {"caller": CALLER, "callee": OURS, "date": AT, "status": "ANSWER", "duration": "35", "marker": "google"},
    "Roistat in Russian": {"Дата": AT, "Номер клиента": CALLER, "Номер": OURS, "Источник": "google", "Статус": "ANSWER"},
    "a short Russian one": {"Номер": OURS, "Абонент": CALLER, "Дата": AT},
    "Calltouch": {
        "Дата и время звонка": AT, "Номер клиента": CALLER, "Подменный номер": OURS, "Источник": "yandex", "Канал": "cpc",
        "Кампания": "Весна", "Длительность": "35",
    },
    "CoMagic": {"Дата и время": AT, "Номер абонента": CALLER, "Виртуальный номер": OURS, "Рекламная кампания": "Весна", "Источник": "ya"},
    "Mango": {"Дата": "03.11.2026", "Время": "14:05:00", "Кто звонил": CALLER, "Куда звонили": OURS, "Длительность": "00:35"},
    "matelso": {"Datum": "03.11.2026", "Uhrzeit": "14:05", "Anrufer": CALLER, "Trackingnummer": OURS, "Quelle": "google", "Kampagne": "S"},
    "sipgate": {"Datum": "03.11.2026 14:05", "Von": CALLER, "An": OURS, "Dauer": "00:35", "Richtung": "Eingehend"},
    "sipgate's API": {"id": "1", "source": CALLER, "target": OURS, "startTime": AT, "direction": "INCOMING"},
    "FRITZ!Box": {
        "Typ": "1", "Datum": "03.11.26 14:05", "Name": "Bob", "Rufnummer": "015112345678", "Landes-/Ortsnetzbereich": "",
        "Nebenstelle": "Büro", "Eigene Rufnummer": "03090182011", "Dauer": "0:05",
    },
    "Asterisk": {"calldate": AT, "clid": f'""Bob"" <{CALLER}>', "src": CALLER, "dst": OURS, "duration": "35", "disposition": "ANSWERED"},
    "a Spanish one": {"Fecha y hora": AT, "Número del llamante": CALLER, "Número marcado": OURS, "Fuente": "google", "Campaña": "P"},
    "a French one": {"Date": "03/11/2026", "Heure": "14h05", "Appelant": CALLER, "Numéro appelé": OURS, "Durée": "35", "Jour (31/12)": ""},
    "an Italian one": {"Data e ora": AT, "Chiamante": CALLER, "Numero chiamato": OURS, "Durata": "35"},
    "a Polish one": {"Data i godzina": AT, "Numer dzwoniącego": CALLER, "Wybrany numer": OURS},
    "one that says Number twice": {"Number": OURS, "Phone": CALLER, "Time": AT},
    "one in the other order": {"Number": CALLER, "Phone": OURS, "Time": AT},
    "one whose callers have names": {"Caller": "Bob", "Phone Number": CALLER, "Called": OURS, "When": AT},
    "one that forwards": {"Called": "+493012345678", "Phone": CALLER, "Line": OURS, "Date": AT},
    "one with a day and a clock": {"Call Date": "2026-11-03", "Start Time": "2:05 PM", "Caller ID": CALLER, "DNIS": OURS},
    "one whose time is a length": {"Date": AT, "Time": "0:35", "Caller": CALLER, "Called Number": OURS},
    "one with heads nobody knows": {"Nr. 1": OURS, "Caller": CALLER, "Zeitpunkt": AT},
}  # fmt: skip


@pytest.mark.parametrize("name", LOGS)
def test_r13_the_columns_of_each_service_are_known(name: str) -> None:
    choices = Choices(dates="day-first") if name == "a French one" else Choices()
    log = read(table(LOGS[name]), choices)
    assert (log.columns.open, log.problems) == ({}, {})
    assert said(log) == [(OURS, CALLER, "2026-11-03 13:05")]


def test_r13_the_source_is_read_where_it_is_one() -> None:
    def sources(name: str) -> list[tuple[str, str, str]]:
        return [(one.source, one.medium, one.campaign) for one in read(table(LOGS[name])).calls]

    assert sources("CallRail") == [("Google Ads", "", "")]
    assert sources("Calltouch") == [("yandex", "cpc", "Весна")]
    assert sources("sipgate's API") == [("", "", "")]


def test_r13_of_two_sources_the_fuller_column_counts_and_a_campaign_without_a_source_says_nothing() -> None:
    text = f"number,caller,date,source,Tracking Source,campaign\n{OURS},{CALLER},{AT},,Google Ads,Spring\n"
    assert [(one.source, one.campaign) for one in read(text).calls] == [("Google Ads", "Spring")]
    alone = read(f"number,caller,date,campaign,Zone\n{OURS},{CALLER},{AT},Spring,North\n")
    assert [(one.source, one.campaign) for one in alone.calls] == [("", "")]
    assert "Not read: “campaign”, “Zone”." in alone.describe_columns()


def test_r13_the_plan_says_which_column_was_taken_as_what() -> None:
    assert read(table(LOGS["three columns of Twilio"] | {"Price": "1"})).describe_columns() == (
        "Tracking number “To”, caller “From”, day and time “Start Time”. Not read: “Price”."
    )


def test_r13_columns_can_be_chosen_by_their_head_or_their_position() -> None:
    text = table({"A": CALLER, "B": OURS, "C": SECOND, "Caller": SECOND, "Time": AT})
    for number, caller in (("B", "A"), ("2", "1"), ("b ", " a")):
        log = read(text, Choices(columns={"number": number, "caller": caller}))
        assert said(log) == [(OURS, CALLER, "2026-11-03 13:05")]


def test_r13_a_column_can_be_left_out() -> None:
    log = read(table(LOGS["Calltouch"]), Choices(columns={"source": "", "medium": "", "campaign": ""}))
    assert [(one.source, one.medium, one.campaign) for one in log.calls] == [("", "", "")]


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"caller": "Nobody"}, "There is no column “Nobody”. The file has “Number”, “Phone”, “Time”"),
        ({"caller": "9"}, "There is no column “9”"),
        ({"callers": "Phone"}, "“callers” is none of the columns that are read"),
        ({"caller": "Phone", "number": "Phone"}, "One column cannot be two things"),
    ],
)
def test_r13_a_choice_that_is_none_is_refused(columns: dict[str, str], why: str) -> None:
    with pytest.raises(UnknownColumn, match=why):
        read(table({"Number": OURS, "Phone": CALLER, "Time": AT}), Choices(columns=columns))


def test_r13_of_two_columns_of_one_head_the_position_is_asked_for() -> None:
    text = f"Number,Caller,Caller,Time\n{OURS},{CALLER},{SECOND},{AT}\n"
    with pytest.raises(UnknownColumn, match=r"There are several columns “Caller”\. Give its position: 2, 3\."):
        read(text, Choices(columns={"caller": "Caller"}))
    assert said(read(text, Choices(columns={"caller": "2"}))) == [(OURS, CALLER, "2026-11-03 13:05")]


def test_r13_where_nobody_can_tell_the_plan_asks_and_reads_nothing() -> None:
    log = read(table({"Phone 1": CALLER, "Phone 2": "+4915112345679", "Time": AT}))
    assert log.is_open
    assert log.calls == []
    assert log.describe_open_columns() == [
        ("number", "Which column is the tracking number?", ["Phone 1", "Phone 2"]),
        ("caller", "Which column is the caller?", ["Phone 1", "Phone 2"]),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Start time,Caller country code\n2026-11-03 14:05,49\n", "No column of the file is the tracking number or the caller"),
        (f"{OURS},{CALLER},{AT}\n{OURS},{CALLER},{AT}\n", "The first line has to name the columns, and it holds a call"),
        ("hello\nworld\n", "This is no table"),
        ("number,caller,started_at\n\n \n", "no lines below its head"),
        ("", "The file is empty"),
    ],
)  # fmt: skip
def test_r13_a_file_without_these_columns_is_refused_in_words(text: str, why: str) -> None:
    with pytest.raises(UnreadableFile, match=why):
        read(text)


@pytest.mark.parametrize(
    ("head", "plain"),
    [
        ("Tracking #", "tracking number"),
        ("startTime", "start time"),
        ("start_time", "start time"),
        ("Start Time (UTC)", "start time"),
        (" Caller-ID ", "caller id"),
        ("Номер № 1", "номер no 1"),
        ("Gewählte Nummer", "gewahlte nummer"),
    ],
)
def test_r13_a_head_is_known_however_it_is_written(head: str, plain: str) -> None:
    assert plain_head(head) == plain


def test_r13_every_head_that_is_known_is_found() -> None:
    for role, names in HEADS.items():
        assert len(set(names.values())) == len(names)
        for name, place in names.items():
            assert rank(role, name) == place
            assert rank(role, name.upper().replace(" ", "_")) == place or not name.isascii()
    assert "outbound dial" in OUTGOING
