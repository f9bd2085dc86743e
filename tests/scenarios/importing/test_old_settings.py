"""R13: old number settings become scenarios: the plan first, then all or nothing, and a second time nothing."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.accounts.audit import Change
from router.accounts.models import AuditEntry, Project
from router.db import Database
from router.scenarios.documents import scenario_documents
from router.scenarios.importing.settings import (
    COLUMNS,
    Imported,
    ImportPlan,
    apply_old_settings,
    make_plan,
    read_old_file,
)
from router.scenarios.importing.tables import UnreadableFile
from router.scenarios.models import Scenario, TrackingNumber
from router.scenarios.numbers.inventory import add_numbers
from router.server import Server
from router.web.errors import Refused
from tests.factories import COMPANY_LINE, NOON, make_project
from tests.properties import examples
from tests.scenarios.names import ALICE, FIRST, LINE, SECOND

only_sqlite = pytest.mark.parametrize("database_kind", ["sqlite"])

ONE = {"destination": LINE, "selectors": ".phone", "format": "(XXX) XXX-XXXX", "type": "dynamic"}
OTHER = ONE | {"destination": "+14155550112"}


def lines(*rows: dict[str, Any], columns: Sequence[str] = COLUMNS, delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def numbered(count: int, values: dict[str, Any], first: int = 0) -> list[dict[str, Any]]:
    return [{"number": f"+1415555{2000 + first + index}"} | values for index in range(count)]


class Importer:
    def __init__(self, server: Server, database: Database, project: Project) -> None:
        self.server, self.database, self.project = server, database, project

    def plan(self, text: str | bytes) -> ImportPlan:
        data = text if isinstance(text, bytes) else text.encode()
        with self.database.reading() as session:
            return make_plan(session, self.server, self.project, read_old_file(data, "US"))

    def apply(self, text: str) -> Imported:
        with self.database.writing() as session:
            file = read_old_file(text.encode(), "US")
            return apply_old_settings(Change(session, self.server, self.project, ALICE, NOON), file)

    def documents(self) -> list[dict[str, Any]]:
        with self.database.reading() as session:
            return all_documents(session, self.server)


def all_documents(session: Session, server: Server) -> list[dict[str, Any]]:
    return scenario_documents(session, server, list(session.scalars(select(Scenario).order_by(Scenario.id))))


@pytest.fixture
def bring(server: Server, database: Database) -> Importer:
    with database.writing() as session:
        return Importer(server, database, make_project(session, fallback_destination=COMPANY_LINE))


def test_r13_five_and_five_numbers_become_two_scenarios(bring: Importer) -> None:
    text = lines(*numbered(5, ONE), *numbered(5, OTHER, 5))
    assert [len(one.numbers) for one in bring.plan(text).scenarios] == [5, 5]
    done = bring.apply(text)
    assert (done.made, done.numbers) == (2, 10)
    assert [len(one["numbers"]) for one in bring.documents()] == [5, 5]


def test_r13_ten_alike_become_one_scenario(bring: Importer) -> None:
    assert bring.apply(lines(*numbered(10, ONE))).made == 1
    (document,) = bring.documents()
    assert len(document["numbers"]) == 10
    assert document["flow"]["destinations"][0]["to"] == LINE
    assert document["tagging"] == {"selectors": [".phone"], "replace": [], "format": "(XXX) XXX-XXXX"}
    assert document["enabled"] is False


def test_r13_ten_different_become_ten_scenarios_with_ten_names(bring: Importer) -> None:
    rows = [numbered(1, ONE | {"selectors": f".phone-{index}"}, index)[0] for index in range(10)]
    assert bring.apply(lines(*rows)).made == 10
    assert len({one["title"] for one in bring.documents()}) == 10


@pytest.mark.parametrize("column", ["destination", "prefix", "selectors", "format", "type", "channel"])
@only_sqlite
def test_r13_a_difference_in_any_setting_makes_another_scenario(bring: Importer, column: str) -> None:
    different = {
        "destination": "+14155550112",
        "prefix": "1415",
        "selectors": ".phone .other",
        "format": "XXX-XXX-XXXX",
        "type": "static",
        "channel": "google",
    }
    rows = [numbered(1, ONE)[0], numbered(1, ONE | {column: different[column]}, 1)[0]]
    assert len(bring.plan(lines(*rows)).scenarios) == 2


@only_sqlite
def test_r13_settings_are_compared_and_not_how_they_are_written(bring: Importer) -> None:
    alike = [
        {"destination": "(415) 555-0111", "selectors": ".b, .a", "type": "Dynamic", "channel": "Google/CPC", "prefix": "+1"},
        {"destination": "14155550111", "selectors": ".a;.b .a", "type": "", "channel": "google / cpc", "prefix": "1"},
    ]  # fmt: skip
    rows = [{"number": f"+1415555200{index}"} | one for index, one in enumerate(alike)]
    assert len(bring.plan(lines(*rows)).scenarios) == 1


def test_r13_a_second_run_changes_nothing(bring: Importer, database: Database) -> None:
    static = ONE | {"type": "static", "channel": "flyer/print/may"}
    only = ONE | {"channel": "google/cpc"}
    text = lines(
        *numbered(3, ONE), *numbered(2, static, 3), *numbered(2, only, 5), *numbered(1, ONE | {"type": "static"}, 7)
    )
    first = bring.apply(text)
    before = bring.documents()
    plan = bring.plan(text)
    assert (plan.problems, plan.changes, plan.new) == ({}, False, [])
    second = bring.apply(text)
    assert (second.made, second.numbers, second.scenarios) == (0, 0, first.scenarios)
    assert bring.documents() == before
    with database.reading() as session:
        assert session.scalar(select(func.count(AuditEntry.id)).where(AuditEntry.action == "settings.imported")) == 1


def test_r13_numbers_that_came_later_go_into_the_scenario_of_the_others(bring: Importer) -> None:
    static = ONE | {"type": "static", "channel": "flyer/print"}
    bring.apply(lines(*numbered(3, ONE), *numbered(2, static, 10)))
    more = lines(*numbered(5, ONE), *numbered(4, static, 10))
    assert [one.say() for one in bring.plan(more).scenarios] == [
        "Here already with 3 of 5 dynamic numbers; the others go into it.",
        "Here already with 2 of 4 static numbers; the others go into it.",
    ]
    assert (bring.apply(more).made, [len(one["numbers"]) for one in bring.documents()]) == (0, [5, 4])
    assert len(bring.documents()[1]["static"]) == 4


def test_r13_static_numbers_stand_for_their_channel_and_dynamic_ones_are_for_it_alone(bring: Importer) -> None:
    static = ONE | {"type": "static", "channel": "flyer/print/may/june"}
    bring.apply(lines(*numbered(1, static), *numbered(1, ONE | {"channel": "google/cpc"}, 1)))
    first, second = bring.documents()
    assert first["static"] == {"+14155552000": {"source": "flyer", "medium": "print", "campaign": "may/june"}}
    assert second["terms"]["only_sources"] == ["google/cpc"]


def test_r13_numbers_are_added_as_own_ones_and_free_ones_are_taken(bring: Importer, database: Database) -> None:
    with database.writing() as session:
        add_numbers(Change(session, bring.server, bring.project, ALICE, NOON), [FIRST])
    text = lines({"number": FIRST} | ONE, {"number": SECOND} | ONE)
    (planned,) = bring.plan(text).scenarios
    assert (planned.free, planned.to_add) == ([FIRST], [SECOND])
    bring.apply(text)
    with database.reading() as session:
        rows = session.scalars(select(TrackingNumber)).all()
    assert all(one.owned_elsewhere and one.paid_until is None and one.scenario_id for one in rows)


BAD = [
    ({"number": "12"}, "number: “12” is not a phone number."),
    ({"number": ""}, "number: it is empty."),
    ({"number": "1.4155E+10"}, "number: The spreadsheet has shortened “1.4155E+10”."),
    ({"number": "=1+1"}, "number: “=1+1” is a formula."),
    ({"destination": "nobody"}, "destination: “nobody” is not a phone number."),
    ({"destination": "sip:a b@c"}, "destination: “sip:a b@c” is not a SIP address"),
    ({"destination": "+14155552000"}, "destination: it is the tracking number of line 2"),
    ({"selectors": "..phone"}, "selectors: “..phone” is not a CSS selector"),
    ({"format": "call us"}, "format: Write X or # where digits go"),
    ({"type": "mixed"}, "type: “mixed” is neither dynamic nor static."),
    ({"channel": "/cpc"}, "channel: write it as source"),
    ({"channel": "@SUM(A1)"}, "channel: “@SUM(A1)” is a formula."),
    ({"number": "+14155552000"}, "+1 415-555-2000 is in line 2 already."),
    ({"number": "+14155550100"}, "calls are forwarded to it"),
]


@pytest.mark.parametrize(("wrong", "said"), BAD)
@only_sqlite
def test_r13_a_line_that_cannot_be_read_is_named_and_nothing_is_brought_over(
    bring: Importer, wrong: dict[str, str], said: str
) -> None:
    text = lines(*numbered(1, ONE), {"number": "+14155552001"} | ONE | wrong)
    (line,) = bring.plan(text).problems.items()
    assert line[0] == 3
    assert said in line[1]
    with pytest.raises(Refused) as refusal:
        bring.apply(text)
    assert list(refusal.value.errors) == ["lines.3"]
    assert bring.documents() == []


def test_r13_a_number_with_other_settings_or_of_another_project_is_named(bring: Importer, database: Database) -> None:
    bring.apply(lines(*numbered(1, ONE)))
    with database.writing() as session:
        make_project(session, name="Another", numbers=(SECOND,))
    plan = bring.plan(lines(*numbered(1, OTHER), {"number": SECOND} | OTHER))
    assert "which has other settings" in plan.problems[2]
    assert "belongs to another project" in plan.problems[3]


@only_sqlite
def test_r13_a_destination_that_is_a_tracking_number_of_this_server_is_named(
    bring: Importer, database: Database
) -> None:
    with database.writing() as session:
        make_project(session, name="Another", numbers=(SECOND,))
    assert (
        "is a tracking number of this server"
        in bring.plan(lines(*numbered(1, ONE | {"destination": SECOND}))).problems[2]
    )


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1251"])
@only_sqlite
def test_r13_files_are_read_in_any_usual_encoding_with_any_usual_delimiter(
    bring: Importer, encoding: str, delimiter: str
) -> None:
    columns = ["channel", "Type", " NUMBER", "Destination ", "note"]
    row = {" NUMBER": "14155552000", "Destination ": LINE, "channel": "яндекс/cpc", "Type": "static", "note": "ja"}
    plan = bring.plan(lines(row, columns=columns, delimiter=delimiter).encode(encoding))
    assert plan.problems == {}
    assert plan.scenarios[0].settings.channel == ("яндекс", "cpc", "")


UNREADABLE = [
    (b"", "The file is empty."),
    (b"number;type\n+14155552000;static", "destination is missing"),
    (b"\x00\x01\x02\x03", "This is not a text file."),
    (b"PK\x03\x04\x14\x00\x06\x00\x08\x00", "This is a spreadsheet's own file."),
    (b"number,number,destination\n", "The column number is there twice."),
    (b"number,destination\n" + b"1,2\n" * 1001, "The file has more than 1,000 lines."),
    (
        b"number,destination,selectors\n" + b"".join(b"+1415555%d,,.a%d\n" % (2000 + i, i) for i in range(201)),
        "The file would make more than 200 scenarios.",
    ),
    (b"x" * (4 * 1024 * 1024 + 1), "The file is larger than 4 MB."),
]


@pytest.mark.parametrize(("data", "said"), UNREADABLE)
def test_r13_a_file_that_is_no_table_is_refused_in_words(data: bytes, said: str) -> None:
    with pytest.raises(UnreadableFile, match=said):
        read_old_file(data, "US")


def test_r13_a_scenario_takes_at_most_500_static_numbers() -> None:
    rows = [{"number": f"+1415555{2000 + index}"} | ONE | {"type": "static"} for index in range(501)]
    assert read_old_file(lines(*rows).encode(), "US").problems == {
        502: "At most 500 static numbers can be in one scenario."
    }


def test_r13_line_numbers_are_those_of_the_file(bring: Importer) -> None:
    text = 'number,destination,selectors\n\n"+14155552000",+14155550111,"\n.a\n.b"\n\n12,+14155550111,\n'
    assert list(bring.plan(text).problems) == [7]


def test_r13_the_old_classes_become_selectors(bring: Importer) -> None:
    (planned,) = bring.plan(lines(*numbered(1, ONE | {"selectors": "roistat-phone roistat-phone-spb"}))).scenarios
    assert planned.settings.selectors == (".roistat-phone", ".roistat-phone-spb")


@given(
    st.binary(max_size=400)
    | st.text(max_size=400).map(lambda text: f"number,destination\n{text}".encode("utf-8", "ignore"))
)
def test_r13_any_file_is_read_or_refused_in_words(data: bytes) -> None:
    try:
        file = read_old_file(data, "US")
    except UnreadableFile:
        return
    assert all(file.problems.values())


CELLS = {
    "destination": ["", "+14155550111", "(415) 555-0112", "sip:a@b.example"],
    "prefix": ["", "1415"],
    "selectors": ["", ".a .b", ".b;.a"],
    "format": ["", "X-X"],
    "type": ["", "static", "DYNAMIC"],
    "channel": ["", "a/b/c", "A"],
}
rows = st.fixed_dictionaries(
    {"number": st.integers(2000, 2030).map(lambda index: f"+1415555{index}")},
    optional={name: st.sampled_from(given) for name, given in CELLS.items()},
)


@settings(max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.lists(rows, max_size=8, unique_by=lambda row: row["number"]))
@only_sqlite
def test_r13_the_same_import_twice_is_the_same_as_once(bring: Importer, table: list[dict[str, str]]) -> None:
    file = read_old_file(lines(*table).encode(), "US")
    with bring.database.writing() as session:
        try:
            first = apply_old_settings(Change(session, bring.server, bring.project, ALICE, NOON), file)
        except Refused as refusal:
            assert refusal.errors  # noqa: PT017 - what is refused says why
            session.rollback()
            return
        after = all_documents(session, bring.server)
        second = apply_old_settings(Change(session, bring.server, bring.project, ALICE, NOON), file)
        assert (second.numbers, second.scenarios) == (0, first.scenarios)
        assert all_documents(session, bring.server) == after
        assert sum(len(one["numbers"]) for one in after) == len(table)
        session.rollback()


@pytest.mark.parametrize(
    ("to", "words"), [("+19002345678", "premium-rate number"), ("+493090182011", "Calls may be forwarded to")]
)
def test_r13_a_line_whose_destination_has_to_be_confirmed_or_is_not_allowed_is_a_problem_of_the_plan(
    server: Server, database: Database, project: Project, to: str, words: str
) -> None:
    settings = server.settings.model_copy(update={"destination_countries": ("US",)})
    strict = Server(settings, database, server.keys, now=lambda: NOON)
    text = lines(*numbered(1, ONE), *numbered(1, ONE | {"destination": to}, first=1))
    plan = Importer(strict, database, project).plan(text)
    assert list(plan.problems) == [3]
    assert words in plan.problems[3]
