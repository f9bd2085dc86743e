"""R13: files as services, spreadsheets and telephones leave them."""

from datetime import UTC, datetime
from io import BytesIO

import pytest

from router.scenarios.importing.tables import BEGINNING, UnreadableFile
from router.voice.importing.calls import Choices
from router.voice.importing.reading import read_call_log
from router.voice.importing.times import ORDERS, Order
from tests.voice.importing.making import AT, CALLER, NOW, NUMBERS, OURS, SECOND, read, said

ONE = [(OURS, CALLER, "2026-11-03 13:05")]
HEAD = "number,caller,started_at\n"
LINE = f"{OURS},{CALLER},{AT}\n"

WRAPPED = {
    "a title": "All calls of November\n" + HEAD + LINE,
    "a title with commas, a filter and blank lines": "Calls, 1 to 30 November, all\n\nFilter: none\n\n\n" + HEAD + LINE,
    "a title with the words of the head": "Caller report, Date: 2026-11-03\n" + HEAD + LINE,
    "a named delimiter": "sep=;\n" + (HEAD + LINE).replace(",", ";"),
    "a named delimiter in quotation marks": '"sep=;"\n' + (HEAD + LINE).replace(",", ";"),
    "a mark of byte order before the named delimiter": "\ufeffsep=,\r\n" + HEAD + LINE,
    "a wrongly named delimiter": "sep=;\n" + HEAD + LINE,
    "blank lines": "\n\n" + HEAD + "\n" + LINE + "\n\n",
    "lines of delimiters only": ",,\n" + HEAD + ",,\n" + LINE,
    "delimiters at the ends": (HEAD + LINE).replace("\n", ",,\n"),
    "blanks behind the delimiters": (HEAD + LINE).replace(",", ", "),
    "Windows line ends": (HEAD + LINE).replace("\n", "\r\n"),
    "old Macintosh line ends": (HEAD + LINE).replace("\n", "\r"),
    "no line end at the end": (HEAD + LINE).rstrip(),
    "quotation marks": '"number","caller","started_at"\n' + f'"{OURS}","{CALLER}","{AT}"\n',
    "a cell of two lines": f'number,caller,started_at,notes\n{OURS},{CALLER},{AT},"called, again\nand a ""friend"""\n',
    "a head of two lines": f'number,"caller\n(all)",started_at\n{OURS},{CALLER},{AT}\n',
    "a line of totals": HEAD + LINE + "Total,1,\n",
    "a line of totals with words": HEAD + LINE + '"Total calls: 1",,\n',
    "Russian totals": HEAD + LINE + ",Итого: 1,\n",
    "German totals": HEAD + LINE + "Summe,1,\n",
    "marks of direction and hard blanks": HEAD + f"\u202a{OURS}\u202c,\u200e{CALLER}\u200f,2026-11-03\u00a014:05\n",
    "a date that fell apart at its commas": HEAD + f"{OURS},{CALLER},Nov 3, 2026, 2:05 PM\n",
    "a control character of an old program": HEAD + LINE + "\x1a",
}


@pytest.mark.parametrize("name", WRAPPED)
def test_r13_what_stands_around_the_calls_does_no_harm(name: str) -> None:
    log = read(WRAPPED[name])
    assert (said(log), log.bad, log.is_open) == (ONE, 0, False)


def test_r13_totals_are_said_to_be_passed_over() -> None:
    assert read(WRAPPED["a line of totals"]).describe_passed_over() == ["the totals in line 3"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1251"])
def test_r13_a_russian_log_is_read_in_any_usual_encoding_with_any_usual_delimiter(
    encoding: str, delimiter: str
) -> None:
    cells = [["Номер", "Абонент", "Дата", "Источник"], [OURS, CALLER, "3 ноября 2026 14:05", "яндекс"]]
    log = read("\r\n".join(delimiter.join(line) for line in cells).encode(encoding))
    assert said(log) == ONE
    assert log.calls[0].source == "яндекс"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize(
    ("heads", "time", "source"),
    [
        ("Gewählte Nummer;Anrufer;Datum;Quelle", "3. März 2026 14:05", "Müller & Söhne"),
        ("Numéro appelé;Appelant;Date;Source", "3 févr. 2026 14:05", "publicité à Orléans"),
        ("Número marcado;Número del llamante;Fecha;Fuente", "3 de agosto de 2026 14:05", "España"),
    ],
)
def test_r13_western_letters_are_no_cyrillic_ones(encoding: str, heads: str, time: str, source: str) -> None:
    log = read(f"{heads}\n{OURS};{CALLER};{time};{source}\n".encode(encoding))
    assert [one.source for one in log.calls] == [source]


def test_r13_a_letter_that_was_cut_makes_no_other_encoding_of_a_file() -> None:
    whole = "\n".join(f"{OURS};{CALLER};2026-11-{day:02} 14:05;яндекс" for day in range(1, 20))
    data = f"Номер;Абонент;Дата;Источник\n{whole}\n".encode() + f"{OURS};{CALLER};{AT};янд".encode()[:-1]
    assert [one.source for one in read(data).calls][-1] == "яндекс"
    assert len(read(data).calls) == 19  # the cut line says a call of that day again


def test_r13_control_characters_far_down_in_a_file_come_to_no_database() -> None:
    head = "number,caller,started_at,source\n"
    calls = "".join(f"{OURS},+4915112{place:06},2026-11-03 14:05,site\n" for place in range(8000))
    log = read(f"{head}{calls}{OURS},{CALLER},{AT},ya\0nd\x07ex\n")
    assert len(head + calls) > BEGINNING
    assert log.calls[-1].source == "yandex"


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n\0\0",
        b"PK\x03\x04\x14\0",
        b"\xd0\xcf\x11\xe0",
        b"\0\1\2\3",
        b"%PDF-1.7\n\x01\x02\x03\x04\x05\x06\x07",
    ],
)
def test_r13_what_is_no_text_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(UnreadableFile):
        read(data)


MANGLED = [
    (f'="{OURS}"', f"'{CALLER}"),
    (f'"=""{OURS}"""', f'"=""{CALLER}"""'),
    ("493090182011.0", "4915112345678.0"),
    ("493090182011,0".replace(",", "."), "004915112345678"),
    ('"493,090,182,011"', '"4,915,112,345,678"'),
    ("493090182011", "4915112345678"),
    ("3090182011", "15112345678"),
    ("03090182011", "0151 12345678"),
    ("(030) 90182011", "0151/123 456 78"),
    ("sip:+493090182011@trunk.example.com", "sip:+4915112345678@pbx.example.com"),
    ("tel:+49-30-90182011", "tel:+49-151-12345678"),
    (f"Web ({OURS})", f'"""Bob"" <{CALLER}>"'),
    (OURS, "+49 151 12345678 (mobile)"),
]


@pytest.mark.parametrize(("number", "caller"), MANGLED)
def test_r13_numbers_that_lost_nothing_are_read(number: str, caller: str) -> None:
    log = read(f"{HEAD}{number},{caller},{AT}\n")
    assert (log.problems, said(log)) == ({}, ONE)


BAD = [
    (f"{OURS},\"4,91512E+12\",{AT}", "caller: The spreadsheet has shortened “4,91512E+12”. Its last digits are lost"),
    (f"{OURS},4.91512e+12,{AT}", "caller: The spreadsheet has shortened “4.91512e+12”."),
    (f"4.9309E+11,{CALLER},{AT}", "number: The spreadsheet has shortened “4.9309E+11”."),
    (f"{OURS},{CALLER},46329.5868", "started_at: “46329.5868” is not a time. This is a spreadsheet's day number."),
    (f"{OURS},{CALLER},", "started_at: “” is not a time."),
    (f"{OURS},{CALLER},1.79373E+09", "started_at: The spreadsheet has shortened"),
    (f"{OURS},=A1,{AT}", "caller: “=A1” is a formula."),
    (f"{OURS},12,{AT}", "caller: “12” is not a phone number."),
    (f"{OURS},Bob,{AT}", "caller: “Bob” is not a phone number."),
    (f",{CALLER},{AT}", "number: it is empty."),
    (f"+493090182099,{CALLER},{AT}", "number: +493090182099 is not a number of this project."),
    (f"436641234567,{CALLER},{AT}", "number: neither +49436641234567 nor +436641234567 is a number of this project."),
    (f"{OURS},{CALLER},{AT},more", "It has 4 cells, and the head has 3. A cell that holds a “,” has to stand in quotation marks."),
    (f"{OURS},{CALLER},2030-01-01 10:00", "started_at: 2030-01-01 is in the future."),
    (f"{OURS},{CALLER},1999-12-01 10:00", "started_at: 1999-12-01 is too long ago."),
    (f"{OURS},{'9' * 3000},{AT}", "caller: This is longer than 2,000 characters."),
]  # fmt: skip


@pytest.mark.parametrize(("line", "why"), BAD)
def test_r13_a_line_that_cannot_be_read_is_listed_with_its_reason_and_the_others_are_read(line: str, why: str) -> None:
    log = read(f"{HEAD}{line}\n{LINE}")
    assert log.bad == 1
    assert log.problems[2].startswith(why)
    assert said(log) == ONE


def test_r13_a_stray_quotation_mark_swallows_no_lines_silently() -> None:
    lines = [f"{OURS},{CALLER},2026-11-{day:02} 14:05,ok" for day in range(1, 9)]
    lines[1], lines[4] = lines[1].replace("ok", '"he said'), lines[4].replace("ok", '"fine"')
    log = read("number,caller,started_at,notes\n" + "\n".join(lines))
    assert log.bad == 1
    assert log.problems[3] == "(To line 6.) A quotation mark is opened here and closed in a later line. Take it out."
    assert len(log.calls) == 4


def test_r13_a_quotation_mark_that_is_never_closed_is_listed() -> None:
    log = read(f'number,caller,started_at,notes\n{OURS},{CALLER},{AT},ok\n{OURS},{CALLER},{AT},"' + "x" * 200_000)
    assert (log.bad, len(log.calls)) == (1, 1)
    assert "its quotation marks are not in order" in log.problems[3]


@pytest.mark.parametrize(
    "caller",
    [
        "", "-", "No Caller ID", "Blocked", "BLOCKED", "Unbekannt", "+266696687", "266696687", "Скрытый номер", "Anonyme", "Privado",
        "anonymous", "Anonymous (Web)", "Restricted", "Unavailable", "Unknown", "withheld", "unterdrückt", "numéro masqué", "número oculto",
        "n/a", "client:bob", "sip:anonymous@anonymous.invalid", "0000000000",
    ],
)  # fmt: skip
def test_r13_a_hidden_caller_is_a_withheld_one(caller: str) -> None:
    log = read(f"{HEAD}{OURS},{caller},{AT}\n{LINE}")
    assert (log.withheld, log.problems, said(log)) == (1, {}, ONE)
    assert log.describe_passed_over() == ["1 call of withheld numbers, by which nobody is recognised"]


@pytest.mark.parametrize(
    ("head", "word"),
    [
        ("Direction", "Outbound"), ("direction", "outbound-dial"), ("Direction", "Outgoing Dial"), ("Richtung", "ausgehend"),
        ("Направление", "Исходящий"), ("Call Type", "outgoing"), ("Typ", "4"), ("Type", "Trunking Originating"),
    ],
)  # fmt: skip
def test_r13_outgoing_calls_are_passed_over(head: str, word: str) -> None:
    log = read(f"to,from,start time,{head}\n+4930123456,{OURS},{AT},{word}\n{OURS},{CALLER},{AT},in\n")
    assert (log.outgoing, log.problems, said(log)) == (1, {}, ONE)
    assert log.describe_passed_over() == ["1 outgoing call"]


def test_r13_a_call_from_a_number_of_ours_to_another_one_is_outgoing_whatever_it_is_called() -> None:
    log = read(f"to,from,start time\n+4930123456,{OURS},{AT}\n{OURS},{SECOND},{AT}\n")
    assert (log.outgoing, said(log)) == (1, [(OURS, SECOND, "2026-11-03 13:05")])


@pytest.mark.parametrize(
    ("head", "word"), [("Lead Type", "Web Form"), ("Direction", "msg_inbound"), ("Interaction Type", "SMS")]
)
def test_r13_messages_and_forms_are_passed_over(head: str, word: str) -> None:
    log = read(f"number,caller,started_at,{head}\n{OURS},bob@example.com,,{word}\n{OURS},{CALLER},{AT},Phone Call\n")
    assert (log.no_calls, log.problems, said(log)) == (1, {}, ONE)


# day and month


@pytest.mark.parametrize(
    ("dates", "order", "why"),
    [
        (["11/03/2026", "11/13/2026"], "month-first", "because of 11/13/2026 in line 3"),
        (["03/11/2026", "13/11/2026"], "day-first", "because of 13/11/2026 in line 3"),
        (["03-11-2026", "30-01-2026"], "day-first", "because of 30-01-2026 in line 3"),
        (["11/3/26", "11/13/26"], "month-first", "because of 11/13/26 in line 3"),
        (["03.11.26", "04.11.26"], "day-first", "as it is usual with dots"),
        (["03.11.26", "03.25.26"], "month-first", "because of 03.25.26 in line 3"),
    ],
)
def test_r13_day_and_month_are_decided_by_the_whole_file_and_shown(dates: list[str], order: Order, why: str) -> None:
    log = read(HEAD + "".join(f"{OURS},{CALLER},{date} 14:05\n" for date in dates))
    assert (log.order, log.order_reason, log.is_open, log.bad) == (order, why, False, 0)
    assert f"{log.calls[-1].started_at:%Y}" == "2026"
    assert f", {why}." in log.describe_times()[0]


def test_r13_lines_that_are_passed_over_tell_day_and_month_too() -> None:
    log = read(HEAD + f"{OURS},Blocked,13/11/2026 14:05\n{OURS},{CALLER},03/11/2026 14:05\n")
    assert said(log) == ONE


@pytest.mark.parametrize(("order", "day"), [("day-first", "2026-03-11"), ("month-first", "2026-11-03")])
def test_r13_what_nothing_decides_is_asked_and_then_done(order: Order, day: str) -> None:
    text = HEAD + f"{OURS},{CALLER},11/03/2026 2:05 PM\n{OURS},{CALLER},07/07/2026 2:05 PM\n"
    log = read(text)
    assert (log.is_open, log.calls, log.bad) == (True, [], 0)
    assert log.dates_question is not None
    assert log.dates_question.readings == (("day-first", "11 March 2026"), ("month-first", "3 November 2026"))
    assert "11/03/2026 in line 2 is 11 March 2026 or 3 November 2026" in log.dates_question.sentence
    chosen = read(text, Choices(dates=order))
    assert not chosen.is_open
    assert [f"{one.started_at:%Y-%m-%d}" for one in chosen.calls] == sorted(["2026-07-07", day])
    assert "as you said" in chosen.describe_times()[0]


def test_r13_the_same_figure_twice_asks_nothing() -> None:
    log = read(HEAD + f"{OURS},{CALLER},07/07/2026 2:05 PM\n{OURS},{CALLER},08/08/2026 2:05 PM\n")
    assert not log.is_open
    assert [f"{one.started_at:%m-%d}" for one in log.calls] == ["07-07", "08-08"]


def test_r13_dates_that_contradict_each_other_are_asked_about() -> None:
    text = HEAD + f"{OURS},{CALLER},13/03/2026 14:05\n{OURS},{CALLER},03/25/2026 14:05\n"
    log = read(text)
    assert log.dates_question is not None
    assert (
        "13/03/2026 in line 2 has the day first and 03/25/2026 in line 3 has the month first"
        in log.dates_question.sentence
    )
    chosen = read(text, Choices(dates="day-first"))
    assert list(chosen.problems) == [3]
    assert "03/25/2026” is not a time" in chosen.problems[3]
    assert len(chosen.calls) == 1


def test_r13_a_year_of_two_figures_in_front_is_asked_about() -> None:
    text = HEAD + "".join(f"{OURS},{CALLER},26-11-{day:02} 14:05\n" for day in range(1, 6))
    log = read(text)
    assert log.dates_question is not None
    assert [order for order, _ in log.dates_question.readings] == ["day-first", "year-first"]
    assert [one.started_at.year for one in read(text, Choices(dates="year-first")).calls] == [2026] * 5


def test_r13_a_head_that_says_what_stands_first_decides() -> None:
    log = read(f"number,caller,Date (MM/DD/YYYY)\n{OURS},{CALLER},11/03/2026 2:05 PM\n")
    assert (said(log), log.order_reason) == (ONE, "as the column “Date (MM/DD/YYYY)” says")


# zones


@pytest.mark.parametrize(
    ("text", "utc", "zone"),
    [
        (HEAD + LINE, "13:05", "Europe/Berlin"),
        (f"number,caller,Start Time (UTC)\n{OURS},{CALLER},{AT}\n", "14:05", "UTC"),
        (f"number,caller,started_at_utc\n{OURS},{CALLER},{AT}\n", "14:05", "utc"),
        (f"number,caller,Start Time (local)\n{OURS},{CALLER},{AT}\n", "13:05", "Europe/Berlin"),
        (f"Номер,Абонент,Дата (МСК)\n{OURS},{CALLER},03.11.2026 14:05\n", "11:05", "МСК"),
        (f"number,caller,date,time (EST)\n{OURS},{CALLER},2026-11-03,2:05 pm\n", "19:05", "EST"),
        (
            f"Call report\nTime zone: America/New_York\nnumber,caller,date\n{OURS},{CALLER},{AT}\n",
            "19:05",
            "America/New_York",
        ),
        (f"number,caller,date,Time zone\n{OURS},{CALLER},{AT},America/New_York\n", "19:05", ""),
        (f"number,caller,date,Timezone\n{OURS},{CALLER},{AT},Eastern Time (US & Canada)\n", "19:05", ""),
        (f"number,caller,date,Zeitzone\n{OURS},{CALLER},{AT},+02:00\n", "12:05", ""),
        (f"number,caller,Start Time (UTC)\n{OURS},{CALLER},{AT}:00+05:30\n", "08:35", ""),
    ],
)
def test_r13_the_zone_is_the_cells_the_columns_the_heads_or_the_projects(text: str, utc: str, zone: str) -> None:
    log = read(text)
    assert (f"{log.calls[0].started_at:%H:%M}", log.zone) == (utc, zone)


def test_r13_a_zone_that_a_person_names_comes_before_the_heads() -> None:
    text = f"number,caller,Start Time (UTC)\n{OURS},{CALLER},{AT}\n"
    log = read(text, Choices(zone="America/New_York"))
    assert (f"{log.calls[0].started_at:%H:%M}", log.zone_reason) == ("19:05", "as you said")
    with pytest.raises(UnreadableFile, match="“Mars” is no time zone"):
        read(text, Choices(zone="Mars"))


def test_r13_a_zone_column_that_names_none_makes_a_bad_line() -> None:
    log = read(f"number,caller,date,Time zone\n{OURS},{CALLER},{AT},Mars\n{OURS},{CALLER},{AT},\n")
    assert log.problems == {2: "Time zone: “Mars” is no time zone. Write it like Europe/Berlin or +01:00."}
    assert said(log) == ONE


def test_r13_a_day_without_a_time_is_midnight_and_the_plan_says_so() -> None:
    log = read(HEAD + f"{OURS},{CALLER},2026-11-03\n")
    assert log.calls[0].started_at == datetime(2026, 11, 2, 23, tzinfo=UTC)
    assert "1 line without a time of day: midnight is taken." in log.describe_times()


# numbers without a plus

TWO_WAYS = f"{HEAD}493090182011,436641234567,{AT}\n493090182011,33612345678,{AT}\n493090182011,4917612345678,{AT}\n"


def test_r13_numbers_of_two_readings_are_shown_with_both_and_asked_about() -> None:
    log = read(TWO_WAYS)
    assert log.is_open
    question = log.questions["caller"]
    assert question.count == 2
    assert [(one.line, one.text, one.international, one.national) for one in question.examples] == [
        (2, "436641234567", "+436641234567", "+49436641234567"),
        (3, "33612345678", "+33612345678", "+4933612345678"),
    ]
    assert question.say() == (
        "2 numbers of the column “caller” can be read in two ways, like 436641234567 in line 2: "
        "+43 664 1234567 or +49 4366 41234567."
    )
    assert [one.caller for one in log.calls] == ["+4917612345678"]


@pytest.mark.parametrize(
    ("choice", "callers"),
    [
        ("international", ["+33612345678", "+436641234567", "+4917612345678"]),
        ("national", ["+4917612345678", "+4933612345678", "+49436641234567"]),
    ],
)
@pytest.mark.parametrize("column", ["", "caller"])
def test_r13_a_choice_reads_all_numbers_of_the_column_so(choice: str, callers: list[str], column: str) -> None:
    log = read(TWO_WAYS, Choices(numbers={column: choice}))  # type: ignore[dict-item]  # what a form brings
    assert not log.is_open
    assert [one.caller for one in log.calls] == callers


def test_r13_a_tracking_number_of_two_readings_is_the_one_that_is_ours() -> None:
    numbers = type(NUMBERS)("DE", "Europe/Berlin", {"+436641234567": 7})
    log = read(f"{HEAD}436641234567,{CALLER},{AT}\n", numbers=numbers)
    assert [(one.number_id, one.number) for one in log.calls] == [(7, "+436641234567")]


def test_r13_two_spellings_of_our_own_number_are_it() -> None:
    numbers = type(NUMBERS)("MX", "America/Mexico_City", {"+525512345678": 7})
    log = read(f"{HEAD}+52 1 55 1234 5678,{CALLER},{AT}\n", numbers=numbers)
    assert [(one.number_id, one.number) for one in log.calls] == [(7, "+525512345678")]


def test_r13_a_line_that_says_a_call_again_is_counted_once() -> None:
    log = read(HEAD + LINE * 3)
    assert (said(log), log.doubled) == (ONE, 2)
    assert log.describe_passed_over() == ["2 lines with a call that another line says too"]


def test_r13_only_so_many_lines_are_read() -> None:
    with pytest.raises(UnreadableFile, match="The file has more than 2 lines"):
        read_call_log(BytesIO((HEAD + LINE * 3).encode()), NUMBERS, Choices(), NOW, most_rows=2)


def test_r13_the_orders_are_those_that_a_person_can_name() -> None:
    assert ORDERS == ("day-first", "month-first", "year-first")
