"""`router plan`: a plan of a scenario's pool, made at once and printed. `router.cli` passes a function that makes the server."""

import json
from typing import Any

import click

from router.accounts.api_habits import parse
from router.accounts.commands import Opener, opened
from router.accounts.models import Project
from router.attribution.planner.making import NothingToGoBy, Trials, prepare
from router.attribution.planner.plan import Point, trust
from router.attribution.planner.shapes import TrafficShape
from router.attribution.planner.showing import Shown, costs_of, point_document
from router.charts import say_percent
from router.formats import say_count
from router.scenarios.models import Scenario
from router.server import Server
from router.web import GREATEST_ID, Problem


@click.command("plan")
@click.option(
    "--scenario", "scenario_id", type=click.IntRange(1, GREATEST_ID), required=True, help="The scenario's id."
)
@click.option("--visits-per-hour", type=float, help="Try a described traffic instead of the scenario's own.")
@click.option("--callers", type=float, default=0.06, show_default=True, help="The share of visits that call.")
@click.option("--sources", type=int, default=12, show_default=True, help="How many marketing sources there are.")
@click.option("--hours", type=float, help="How many hours of it; without: as many as bring 16,000 visits.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed describes the same traffic.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def plan(open_server: Opener, /, scenario_id: int, as_json: bool, **wanted: Any) -> None:
    """Say what a scenario's pool would tell with fewer and with more numbers."""
    described = _described(wanted)
    with opened(open_server) as server:
        found, title = _prepared(server, scenario_id, described)
        points = list(found.run())
        shown = _shown(server, scenario_id, points, found.facts)
    click.echo(json.dumps(_document(shown, found), indent=2) if as_json else "\n".join(_lines(title, shown, found)))


def _described(wanted: dict[str, Any]) -> TrafficShape | None:
    given = {name: value for name, value in wanted.items() if value is not None}
    if "visits_per_hour" not in given:
        return None
    try:
        return parse(TrafficShape, given)
    except Problem as refusal:
        option = f"--{refusal.field.replace('_', '-')}: " if refusal.field else ""
        raise click.ClickException(f"{option}{refusal.detail}") from None


def _prepared(server: Server, scenario_id: int, described: TrafficShape | None) -> tuple[Trials, str]:
    with server.database.reading() as session:
        scenario = session.get(Scenario, scenario_id)
        if scenario is None or scenario.deleted_at is not None:
            raise click.ClickException(f"There is no scenario {scenario_id}.")
        try:
            return prepare(session, server, scenario, described, server.now()), scenario.title
        except NothingToGoBy as sentence:
            raise click.ClickException(f"{sentence} Say --visits-per-hour.") from None


def _shown(server: Server, scenario_id: int, points: list[Point], facts: dict[str, Any]) -> Shown:
    with server.database.reading() as session:
        scenario = session.get_one(Scenario, scenario_id)
        costs = costs_of(session, server.settings, session.get_one(Project, scenario.project_id))
    return Shown(points, facts["aim"], facts["numbers"], costs)


def _document(shown: Shown, found: Trials) -> dict[str, Any]:
    return {
        **{name: found.facts[name] for name in ("numbers", "aim", "visits", "calls")},
        "recommended": shown.recommended.numbers,
        "findings": shown.findings,
        "currency": shown.costs.currency,
        "points": [point_document(one, shown.costs) for one in shown.points],
    }


def _lines(title: str, shown: Shown, found: Trials) -> list[str]:
    """A table of fixed width."""
    calls = found.facts["calls"]
    head = f"{'':>9}  {'by visit':^23}  {'by advertisement':^23}"
    names = f"{'numbers':>9}  " + "  ".join([f"{'advertisement':>13} {'visit':>9}"] * 2) + "  cost a week"
    rows = [_line(shown, size) for size in shown.sizes]
    rests = f"{say_count(found.facts['visits'], 'visit')} and {say_count(calls, 'call')} were tried. {trust(calls)}".rstrip()
    return [title, *shown.findings, "", head, names, *rows, "", rests]


def _line(shown: Shown, size: int) -> str:
    both = [point for aim in ("visit", "source") if (point := shown.at(size, aim))]
    shares = "  ".join(f"{say_percent(one.right_source):>13} {say_percent(one.right_visit):>9}" for one in both)
    mark = "  today" if size == shown.today else ""
    return f"{size:>9}  {shares}  {shown.costs.say(size) or '-':>11}{mark}"
