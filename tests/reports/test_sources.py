"""The report by source: its credited counts are the call list's, its sums are whole."""

import csv
import io
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from math import ceil, isclose, sqrt
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select

from router.attribution.decision import shares_by_source
from router.attribution.models import Visit
from router.attribution.tracking.sources import named_source
from router.db import Database
from router.reports.calls import CallFilter, Period, calls_of, parse_filter, parse_period
from router.reports.sources import (
    GROUPS,
    SourceQuery,
    SourceReport,
    SourceRow,
    expected_rows,
    filter_of,
    shares_of,
)
from router.voice.models import Call
from tests.busy_project import NUMBERS
from tests.counting import count_statements
from tests.factories import make_call, make_visit
from tests.people import NOW, Cast, bearer
from tests.properties import examples

EASY: Any = settings(
    max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
WORDS = ("google", "Google ", "GOOGLE", "straße", "STRASSE", "bing", "%", "'--", "=1+1", "")
sources = st.tuples(*[st.sampled_from(WORDS)] * 3)
specs = st.lists(
    st.fixed_dictionaries(
        {
            "rule": st.sampled_from(("lease", "static", "imported", "imported without a source", "none", "repeat")),
            "source": sources,
            "hours": st.integers(0, 24 * 80),
            "scenario_id": st.sampled_from((None, 1, 2)),
            "share": st.floats(0.01, 1).map(lambda share: round(share, 4)),
            "other": sources,
        }
    ),
    max_size=14,
)


def put_calls(database: Database, cast: Cast, wanted: list[dict[str, Any]]) -> None:
    """Only these calls, each with the columns that the rules leave. Repeats follow the first of them."""
    with database.writing() as session:
        session.execute(delete(Call))
        session.execute(delete(Visit))
        first: Call | None = None
        for index, spec in enumerate(wanted):
            source, other = (named_source(*spec[name]) for name in ("source", "other"))
            sure = spec["share"] if spec["rule"] in ("lease", "repeat") else 1.0
            rule, _, without = spec["rule"].partition(" ")
            values: dict[str, Any] = {"rule": rule, "scenario_id": spec["scenario_id"]}
            if rule != "none" and not without:
                values |= {"source": source.as_dict(), "source_key": source.key, "source_confidence": sure}
            if spec["rule"] == "lease":
                shares = [(source, sure), (other, round((1 - sure) / 2, 4))]
                values["shares"] = [
                    [one.key, share, make_visit(session, cast.project, index * 2 + place, NOW, **one.as_dict()).id]
                    for place, (one, share) in enumerate(shares)
                ]
            if spec["rule"] == "repeat" and first:
                step = {"rule": "repeat", "applies": True, "first_call_id": first.id}
                values |= {name: getattr(first, name) for name in ("source", "source_key", "source_confidence")}
                values["decision"] = {"steps": [step]}
            at = NOW - timedelta(hours=spec["hours"], seconds=index)
            call = make_call(session, cast.project, NUMBERS[0], at, **values)
            first = first or (call if spec["rule"] == "lease" else None)


def reports(database: Database, cast: Cast) -> Iterator[tuple[str, int | None, SourceReport]]:
    for group in GROUPS:
        for scenario in (None, 1):
            with database.reading() as session:
                period = parse_period({}, cast.project.timezone, NOW)
                yield group, scenario, SourceReport(session, cast.project.id, SourceQuery(period, group, scenario))


def listed(database: Database, cast: Cast, row: SourceRow, group: str, period: Period, scenario: int | None) -> int:
    with database.reading() as session:
        wanted = parse_filter(filter_of(row, SourceQuery(period, group, scenario)), cast.project)
        found = calls_of(session, cast.project.id, wanted).subquery()
        return session.scalar(select(func.count()).select_from(found)) or 0


@EASY
@given(wanted=specs)
def test_r7_the_credited_count_of_every_row_is_that_of_its_call_list(
    database: Database, cast: Cast, wanted: list[dict[str, Any]]
) -> None:
    put_calls(database, cast, wanted)
    for group, scenario, report in reports(database, cast):
        for row in report.rows:
            assert listed(database, cast, row, group, report.query.period, scenario) == row.figures.calls
        since = report.query.period.since
        every = [one for one in wanted if scenario in (None, one["scenario_id"]) and moment(wanted, one) >= since]
        assert report.calls == len(every)
        assert sum(row.expected.mean for row in report.rows) == pytest.approx(report.calls, abs=1e-6)
        assert report.rows[-1].source is None


def moment(wanted: list[dict[str, Any]], spec: dict[str, Any]) -> datetime:
    index = next(place for place, one in enumerate(wanted) if one is spec)
    return NOW - timedelta(hours=spec["hours"], seconds=index)


def spec(rule: str = "lease", source: str = "google", hours: int = 1, **values: Any) -> dict[str, Any]:
    other = ("bing", "cpc", "")
    return {
        "rule": rule,
        "source": (source, "cpc", "spring"),
        "other": other,
        "hours": hours,
        "scenario_id": 1,
        "share": 0.8,
    } | values


def report_of(database: Database, cast: Cast, group: str = "source", **args: str) -> SourceReport:
    with database.reading() as session:
        period = parse_period(args, cast.project.timezone, NOW)
        return SourceReport(session, cast.project.id, SourceQuery(period, group, None))


def row_of(report: SourceReport, source: str | None) -> SourceRow:
    return next(row for row in report.rows if (row.source.source if row.source else None) == source)


def test_r7_beside_the_credited_count_stands_what_is_expected(database: Database, cast: Cast) -> None:
    put_calls(database, cast, [spec(hours=hour) for hour in range(10)] + [spec("none"), spec("static", "flyer")])
    report = report_of(database, cast)
    google, bing, flyer, nobody = (row_of(report, name) for name in ("google", "bing", "flyer", None))
    assert (google.figures.calls, google.expected.mean, google.expected.range) == (10, pytest.approx(8), 3)
    assert (bing.figures.calls, bing.expected.mean) == (0, pytest.approx(1))
    assert (flyer.figures.calls, flyer.expected.mean, flyer.expected.range) == (1, 1, 0)
    assert (nobody.figures.calls, nobody.expected.mean) == (1, pytest.approx(2))
    assert google.figures.confidence == pytest.approx(0.8)


def test_r7_repeats_follow_a_first_call_from_before_the_period(database: Database, cast: Cast) -> None:
    put_calls(database, cast, [spec(hours=24 * 9)] + [spec("repeat", hours=hour) for hour in range(4)])
    google = row_of(report_of(database, cast, period="7"), "google")
    assert (google.figures.calls, google.figures.before) == (4, 1)
    assert (google.expected.mean, google.expected.range) == (pytest.approx(3.2), 4)
    assert row_of(report_of(database, cast, period="7"), "bing").expected.mean == pytest.approx(0.4)


def test_r7_repeats_follow_the_chain_of_earlier_calls_to_the_one_that_decided(database: Database, cast: Cast) -> None:
    """As projects have it that credit repeat calls to the last source known."""
    put_calls(database, cast, [spec(hours=9), *(spec("repeat", hours=hour) for hour in (8, 7, 6))])
    with database.writing() as session:
        calls = session.scalars(select(Call).order_by(Call.id)).all()
        for before, call in pairwise(calls):
            call.decision = {"steps": [{"rule": "repeat", "applies": True, "earlier_call_id": before.id}]}
    google = row_of(report_of(database, cast), "google")
    assert (google.figures.calls, google.expected.mean, google.expected.range) == (4, pytest.approx(3.2), 4)


def test_a_period_that_goes_on_is_compared_up_to_the_same_time_of_day(database: Database, cast: Cast) -> None:
    put_calls(database, cast, [spec(hours=hour) for hour in (1, 25, 30, 23, 22)])
    today = report_of(database, cast, period="today")
    assert (today.calls, today.before) == (1, 2), "of yesterday's four, two came after this time of day"
    day = (NOW - timedelta(days=1)).date().isoformat()
    over = report_of(database, cast, **{"from": day, "to": day})
    assert (over.calls, over.before) == (4, 0)


def test_days_are_the_projects(database: Database, cast: Cast) -> None:
    """Midnight in Berlin is 23:00 in UTC: the second call came a second before."""
    put_calls(database, cast, [spec(hours=13), spec(hours=13)])
    assert report_of(database, cast, **{"from": "2026-11-23", "to": "2026-11-23"}).calls == 1
    assert report_of(database, cast, **{"from": "2026-11-22", "to": "2026-11-23"}).calls == 2


def test_the_report_takes_as_many_statements_for_many_calls_as_for_few(database: Database, cast: Cast) -> None:
    put_calls(database, cast, [spec(), spec("repeat"), spec("static")])
    with count_statements(database) as few:
        report_of(database, cast)
    chance = random.Random(7)
    put_calls(database, cast, [spec(source=f"s{index}", share=chance.random()) for index in range(60)])
    with count_statements(database) as many:
        report_of(database, cast)
    assert len([one for one in many if one.startswith("SELECT")]) <= 5
    assert len(few) <= 5


def test_the_file_holds_no_formula(alice: FlaskClient, database: Database, cast: Cast) -> None:
    put_calls(database, cast, [spec(source=evil) for evil in ("=1+1", "+cmd", "-2", "@x", "\t=1", "a,b")])
    answer = alice.get("/reports/sources.csv?by=campaign")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert sum(int(row["calls"]) for row in rows) == 6
    assert not [cell for row in rows for cell in (row["source"], row["campaign"]) if cell[:1] in "=+-@\t" and cell]


def test_the_page_shows_figures_ranges_and_where_they_lead(alice: FlaskClient, database: Database, cast: Cast) -> None:
    put_calls(database, cast, [spec(hours=hour) for hour in range(10)] + [spec("none")])
    page = alice.get("/reports").text
    assert "11 calls in the last 30 days" in page
    assert "8 ± 3" in page
    assert "from=2026-10-25&amp;to=2026-11-23&amp;kind=external&amp;source=google&amp;medium=cpc" in page
    assert "unattributed=1" in page
    found = alice.get("/calls?from=2026-10-25&to=2026-11-23&source=google&medium=cpc&status=").text
    assert found.count('class="opens call-row"') == 10
    assert "25 Oct 2026 to 23 Nov 2026" in found
    assert alice.get("/calls?unattributed=1").text.count('class="opens call-row"') == 1


def test_an_empty_report_says_what_will_stand_here(alice: FlaskClient, cast: Cast) -> None:
    assert "No call in the last 30 days" in alice.get("/reports").text


@pytest.mark.parametrize(
    ("junk", "field"),
    [
        ("from=yesterday", "from"),
        ("from=2026-02-30", "from"),
        ("from=9999-12-31", "from"),
        ("from=0001-01-01&to=2026-01-01", "from"),
        ("from=2001-01-01&to=2026-01-01", "from"),
        ("from=2026-11-23&to=2026-11-01", "to"),
        ("period=8", "period"),
        ("by=caller", "by"),
        ("scenario=1%27", "scenario"),
        ("scenario=99999999999999999999", "scenario"),
    ],
)
def test_what_cannot_be_used_is_named(alice: FlaskClient, cast: Cast, junk: str, field: str) -> None:
    path = f"/api/v1/projects/{cast.project.id}/reports/sources?{junk}"
    answer = alice.get(path, headers=bearer(cast.alice_token))
    assert (answer.status_code, (answer.json or {}).get("field")) == (422, field)
    assert alice.get(f"/reports?{junk}").status_code == 200
    assert alice.get(f"/calls?{junk}").status_code == 200


def test_a_source_of_many_campaigns_takes_no_more_parameters_than_of_one(database: Database, cast: Cast) -> None:
    """Databases take some ten thousand at most."""

    def parameters(campaigns: int) -> int:
        put_calls(
            database, cast, [spec() | {"source": ("google", "cpc", f"campaign {one}")} for one in range(campaigns)]
        )
        with database.reading() as session:
            found = calls_of(session, cast.project.id, CallFilter(source="google"))
            assert len(session.scalars(found).all()) == campaigns
            compiled = found.compile(session.get_bind(), compile_kwargs={"render_postcompile": True})
        return len(compiled.params)

    assert parameters(20) == parameters(1)


def test_programs_read_the_report_and_the_calls_of_a_row(client: FlaskClient, database: Database, cast: Cast) -> None:
    put_calls(database, cast, [spec(), spec("none"), spec(source="Straße", share=0.5)])
    api = f"/api/v1/projects/{cast.project.id}"

    def ask(path: str, **args: str) -> Any:
        return client.get(api + path, query_string=args, headers=bearer(cast.alice_token)).json

    report = ask("/reports/sources", by="campaign", period="7")
    assert (report["from"], report["to"], report["calls"]) == ("2026-11-17", "2026-11-23", 3)
    assert sum(row["expected"] for row in report["items"]) == pytest.approx(3)
    assert report["items"][-1]["unattributed"]
    assert report["items"][-1]["source"] is None
    assert len(ask("/calls", source="STRASSE", campaign="spring")["items"]) == 1
    assert len(ask("/calls", campaign=" ")["items"]) == 0
    assert len(ask("/calls", unattributed="true")["items"]) == 1
    assert ask("/calls", unattributed="perhaps")["field"] == "unattributed"
    assert len(ask("/calls", channel="paid_search", **{"from": "2026-11-23", "to": "2026-11-23"})["items"]) == 2


def test_another_projects_calls_are_in_no_report(client: FlaskClient, database: Database, cast: Cast) -> None:
    put_calls(database, cast, [spec()])
    api = f"/api/v1/projects/{cast.other_project.id}/reports/sources"
    assert (client.get(api, headers=bearer(cast.charlie_token)).json or {})["calls"] == 0
    assert client.get(api, headers=bearer(cast.alice_token)).status_code == 404


NOBODY = None
keys = st.integers(1, 6)


@st.composite
def some_shares(draw: st.DrawFn) -> dict[int, float]:
    """Of one call: they come to at most a little more than 1, as rounded ones do."""
    weights = draw(st.dictionaries(keys, st.floats(0.001, 1), max_size=5))
    whole = sum(weights.values()) + draw(st.floats(0, 2)) or 1
    return {key: round(weight / whole, 4) for key, weight in weights.items()}


calls = st.lists(st.tuples(some_shares(), st.integers(1, 9)), max_size=40)


@given(calls)
def test_r7_expected_values_of_all_rows_come_to_the_number_of_calls(calls: list[tuple[dict[int, float], int]]) -> None:
    for row_of in (lambda key: key, lambda key: key % 2, lambda key: "all", lambda key: None):
        rows = expected_rows(calls, row_of)
        assert isclose(sum(row.mean for row in rows.values()), sum(times for _, times in calls), abs_tol=1e-9)
        assert all(row.mean > -1e-9 and row.variance > -1e-9 for row in rows.values())


def test_r7_independent_calls_have_a_range_of_two_deviations_rounded_up() -> None:
    rows = expected_rows([({1: 0.8, 2: 0.15}, 1)] * 50, lambda key: key)
    assert isclose(rows[1].mean, 40)
    assert rows[1].range == ceil(2 * sqrt(50 * 0.8 * 0.2)) == 6
    assert isclose(rows[NOBODY].mean, 2.5)


def test_r7_repeat_calls_are_right_or_wrong_together_with_their_first_call() -> None:
    """Ten calls of one caller are ten times one throw of the coin, not ten throws."""
    alone, together = [({1: 0.5}, 1)] * 10, [({1: 0.5}, 10)]
    assert expected_rows(alone, lambda key: key)[1].range == 4
    assert expected_rows(together, lambda key: key)[1].range == 10
    assert expected_rows(together, lambda key: key)[1].mean == 5


def test_r7_candidates_of_one_row_are_as_good_as_one() -> None:
    """Two campaigns of one channel: which of them it was does not matter to the channel."""
    assert expected_rows([({1: 0.5, 2: 0.5}, 1)] * 30, lambda key: "paid search")["paid search"].range == 0


def test_r7_static_and_imported_calls_are_certain() -> None:
    doubtful = [[9, 0.4, 1]]
    assert shares_of("static", 1, 1.0, doubtful) == {1: 1.0}
    assert shares_of("imported", 1, None, None) == {1: 1.0}
    assert shares_of("imported", None, None, None) == {}
    assert expected_rows([(shares_of("static", 1, 1.0, []), 7)], lambda key: key)[1].range == 0


def test_r7_a_lease_decides_by_all_its_candidates_and_none_by_nobody() -> None:
    candidates = [(1, 0.5, 11), (2, 0.1, 12), (1, 0.2, 13)]
    assert shares_by_source(candidates) == [[1, 0.7, 11], [2, 0.1, 12]]
    assert shares_of("lease", 1, 0.7, shares_by_source(candidates)) == {1: 0.7, 2: 0.1}
    assert shares_of("none", None, None, []) == {}


def test_calls_of_an_earlier_release_have_their_own_source() -> None:
    assert shares_of("lease", 5, 0.6, None) == {5: 0.6}
