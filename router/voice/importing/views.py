"""Settings, Call history (R13): send a call log, look at the plan, say how it is to be read, bring it over; and the command
`router import-calls`. `router.cli` passes a function that makes the server."""

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import click
from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from router.accounts.audit import changing, record
from router.accounts.cli import CONSOLE, Opener, opened, project_of
from router.lib.formats import format_count
from router.scenarios.importing.files import (
    BadChoice,
    Choice,
    KeptFile,
    choose,
    find_file,
    forget_file,
    keep_file,
    numbers_option,
    pages_of_file,
    read_choices,
    say_number_questions,
)
from router.scenarios.importing.tables import UnreadableFile
from router.server import current_server
from router.voice.importing.calls import CallLog, Choices, leave_out_forgotten, write_old_calls
from router.voice.importing.columns import ROLES, UnknownColumn
from router.voice.importing.reading import project_numbers, read_call_log
from router.voice.importing.times import ORDERS, Order
from router.voice.models import CallLogFile
from router.web.access import current_project

PATH = "/settings/call-history"
MOST_BYTES = 4 * 1024 * 1024
MOST_ROWS = 10_000
"""As many as a page reads while somebody waits; the command takes more."""
MOST_SHOWN = 200
"""Bad lines that are listed one by one."""
FIRST_CALLS = 5
LONGEST_CHOICE = 200
UNREADABLE = (UnreadableFile, UnknownColumn, BadChoice)

call_log_pages = pages_of_file("call_log", PATH, CallLogFile, MOST_BYTES + 64 * 1024)

Page = str | tuple[str, int] | Response


@call_log_pages.get("")
def show() -> Page:
    """The form, and the plan of the log that was sent last."""
    kept = find_file(CallLogFile)
    if kept is None:
        return _page()
    try:
        return _page(kept, _read(kept.data, kept.choices))
    except UNREADABLE as error:
        return _page(error=f"{kept.name} cannot be read any more. {error}")


@call_log_pages.post("")
def send() -> Page:
    """Keeps the log, if it can be read at all; the plan is shown by the page that follows."""
    sent = request.files.get("file")
    data = sent.read(MOST_BYTES + 1) if sent else b""
    try:
        if sent is None or not sent.filename:
            raise UnreadableFile("Choose a file first.")
        if len(data) > MOST_BYTES:
            raise UnreadableFile(
                f"The file is larger than {MOST_BYTES // 1024 // 1024} MB. Split it, or let the operator use router import-calls."
            )
        _read(data, {})
    except UnreadableFile as error:
        return _page(error=str(error)), 422
    with current_server().database.writing() as session:
        keep_file(session, CallLogFile, sent.filename, data)
    return redirect(url_for("call_log.show"))


@call_log_pages.post("/choose")
def say() -> Page:
    """How the log is to be read: columns by their position, dates, zone, and numbers without a plus."""
    kept = find_file(CallLogFile)
    if kept is None:
        return redirect(url_for("call_log.show"))
    typed = {name: value.strip()[:LONGEST_CHOICE] for name, value in request.form.items() if name != "csrf_token"}
    numbers = typed.get("numbers.caller") or kept.choices.get("numbers", {}).get("caller")
    choices: dict[str, Any] = {
        "columns": {role: typed[f"column.{role}"] for role in ROLES if f"column.{role}" in typed},
        "numbers": {"caller": numbers} if numbers else {},
        "dates": typed.get("dates", ""),
        "zone": typed.get("zone", ""),
    }
    try:
        _read(kept.data, choices)
    except UNREADABLE as error:
        try:
            return _page(kept, _read(kept.data, kept.choices), error=str(error)), 422
        except UNREADABLE:
            return redirect(url_for("call_log.show"))
    with current_server().database.writing() as session:
        choose(session, CallLogFile, choices)
    return redirect(url_for("call_log.show"))


@call_log_pages.post("/apply")
def apply() -> Page:
    """Some hundred lines at a time; what was written stays, and is not written again."""
    kept = find_file(CallLogFile)
    if kept is None:
        flash("There is no file to apply: send it first.", "bad")
        return redirect(url_for("call_log.show"))
    try:
        log = _read(kept.data, kept.choices)
    except UNREADABLE:  # the project's numbers are others now
        return redirect(url_for("call_log.show"))
    if log.is_open or (log.bad and not request.form.get("skip_bad")):
        return _page(kept, log), 422
    server = current_server()
    written = write_old_calls(server, current_project(), log.calls, server.now())
    with changing() as change:
        if written:
            change.record("calls.imported", format_count(written, "call"))
        forget_file(change.session, CallLogFile)
    return render_template("voice/call_log_done.html", name=kept.name, log=log, written=written, most_shown=MOST_SHOWN)


def _read(data: bytes, choices: dict[str, Any]) -> CallLog:
    server = current_server()
    order = next((order for order in ORDERS if order == choices.get("dates")), None)
    chosen = Choices(
        choices.get("columns", {}), read_choices(choices.get("numbers", {})), order, choices.get("zone", "")
    )
    with server.database.reading() as session:
        numbers = project_numbers(session, current_project())
    log = read_call_log(BytesIO(data), numbers, chosen, server.now(), MOST_ROWS)
    leave_out_forgotten(server, current_project(), log)
    return log


def _page(kept: KeptFile | None = None, log: CallLog | None = None, error: str = "") -> str:
    return render_template(
        "voice/call_log.html",
        name=kept.name if kept else "",
        choices=kept.choices if kept else {},
        log=log,
        error=error,
        roles=ROLES,
        first_calls=FIRST_CALLS,
        most_shown=MOST_SHOWN,
        most_rows=MOST_ROWS,
    )


MOST_LINES_SAID = 50
"""Lines that are named one by one."""


def _read_columns(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    columns = {}
    for text in given:
        role, sign, name = text.partition("=")
        if not sign or role.strip() not in ROLES:
            raise click.BadParameter(f"write it like caller=HEAD; the columns are {', '.join(ROLES)}.")
        columns[role.strip()] = name.strip()
    return columns


@click.command("import-calls")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--project", type=int, required=True, help="The project's id.")
@click.option("--plan", "only_plan", is_flag=True, help="Say how the file is read, and bring nothing over.")
@click.option("--skip-bad", is_flag=True, help="Bring the other lines over when some cannot be used.")
@click.option("--dates", type=click.Choice(ORDERS), help="What stands first in dates like 11/03/2026.")
@numbers_option("caller")
@click.option(
    "--column",
    "columns",
    multiple=True,
    callback=_read_columns,
    metavar="WHAT=HEAD",
    help=f"Which column is what, by its head or its position; an empty HEAD for none. WHAT is {', '.join(ROLES)}.",
)
@click.option("--zone", default="", help="The time zone of times that name none, like Europe/Berlin or +01:00.")
@click.pass_obj
def import_calls(
    open_server: Opener,
    file: Path,
    project: int,
    only_plan: bool,
    skip_bad: bool,
    dates: Order | None,
    numbers: dict[str, Choice],
    columns: dict[str, str],
    zone: str,
) -> None:
    """Bring a call history over: the call log of another service, as it exports it.

    Customers who called before are known then, with the source that brought them first. Nobody is told about these calls, and a
    second import of the same file changes nothing. Nothing is brought over while it is not clear how the file is to be read.
    """
    with opened(open_server) as server:
        now = server.now()
        try:
            with server.database.reading() as session:
                owner = project_of(session, project)
                known = project_numbers(session, owner)
            with file.open("rb") as opened_file:
                log = read_call_log(opened_file, known, Choices(columns, numbers, dates, zone), now)
            leave_out_forgotten(server, owner, log)
        except (UnreadableFile, UnknownColumn) as error:
            raise click.ClickException(str(error)) from None
        _say_plan(log, owner.timezone, only_plan)
        if log.is_open:
            raise click.ClickException("Nothing was brought over: say first how the file is to be read.")
        if only_plan:
            return
        if log.bad and not skip_bad:
            raise click.ClickException(
                f"Nothing was brought over: {format_count(log.bad, 'line')} cannot be used. "
                f"Mend {'it' if log.bad == 1 else 'them'}, or repeat with --skip-bad."
            )
        with click.progressbar(length=len(log.calls), file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            written = write_old_calls(server, owner, log.calls, now, bar.update)
        if written:
            with server.database.writing() as session:
                record(session, CONSOLE, now, "calls.imported", format_count(written, "call"), project)
    click.echo(f"Brought over: {format_count(written, 'call')}. Here already: {len(log.calls) - written:,}.")
    for sentence in log.describe_passed_over():
        click.echo(f"Passed over: {sentence}.")
    if log.bad:
        click.echo(f"Skipped: {format_count(log.bad, 'line')}.")


def _say_plan(log: CallLog, zone: str, only_plan: bool) -> None:
    """The whole plan when it is asked for; else only what a person should know."""
    has_own_heads = any(log.columns.head_of(role).casefold() not in ("", role) for role in ROLES)
    if log.columns.taken and (only_plan or has_own_heads or log.columns.open):
        click.echo(f"Columns: {log.describe_columns()}")
    for role, question, heads in log.describe_open_columns():
        click.echo(f"{question} {', '.join(f'“{head}”' for head in heads)}. Say it with --column '{role}=…'.", err=True)
    for sentence in log.describe_times() if only_plan or log.order or log.without_clock else []:
        click.echo(sentence)
    if log.dates_question:
        click.echo(
            f"{log.dates_question.sentence} Say --dates {' or --dates '.join(order for order, _ in log.dates_question.readings)}.",
            err=True,
        )
    say_number_questions(log.questions, {log.columns.head_of("caller"): "caller"})
    for line, sentence in list(log.problems.items())[:MOST_LINES_SAID]:
        click.echo(f"Line {line}: {sentence}", err=True)
    if log.bad > MOST_LINES_SAID:
        click.echo(f"… and {log.bad - MOST_LINES_SAID:,} more lines.", err=True)
    if only_plan and not log.is_open:
        click.echo(f"{log.describe_span(zone)}. Nothing is brought over yet.")
        for sentence in log.describe_passed_over():
            click.echo(f"To be passed over: {sentence}.")
        if log.bad:
            click.echo(f"{format_count(log.bad, 'line')} cannot be used.")
