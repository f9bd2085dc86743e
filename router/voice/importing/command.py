"""`router import-calls`. `router.cli` passes a function that makes the server."""

import sys
from pathlib import Path

import click

from router.accounts import audit
from router.accounts.cli import CONSOLE, Opener, opened, project_of
from router.lib.formats import format_count
from router.scenarios.importing.files import Choice, numbers_option, say_number_questions
from router.scenarios.importing.tables import UnreadableFile
from router.voice.importing.calls import write_old_calls
from router.voice.importing.columns import ROLES, UnknownColumn
from router.voice.importing.plan import CallLog, Choices
from router.voice.importing.reading import project_numbers, read_call_log
from router.voice.importing.times import ORDERS, Order

MOST_SHOWN = 50
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
                ours = project_numbers(session, owner)
            with file.open("rb") as opened_file:
                log = read_call_log(opened_file, ours, Choices(columns, numbers, dates, zone), now)
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
                audit.record(session, CONSOLE, now, "calls.imported", format_count(written, "call"), project)
    click.echo(f"Brought over: {format_count(written, 'call')}. Here already: {len(log.calls) - written:,}.")
    for sentence in log.describe_passed_over():
        click.echo(f"Passed over: {sentence}.")
    if log.bad:
        click.echo(f"Skipped: {format_count(log.bad, 'line')}.")


def _say_plan(log: CallLog, zone: str, only_plan: bool) -> None:
    """The whole plan when it is asked for; else only what a person should know."""
    has_own_heads = any(log.head_of(role).casefold() not in ("", role) for role in ROLES)
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
    say_number_questions(log.questions, {log.head_of("caller"): "caller"})
    for line, sentence in list(log.problems.items())[:MOST_SHOWN]:
        click.echo(f"Line {line}: {sentence}", err=True)
    if log.bad > MOST_SHOWN:
        click.echo(f"… and {log.bad - MOST_SHOWN:,} more lines.", err=True)
    if only_plan and not log.is_open:
        click.echo(f"{log.describe_span(zone)}. Nothing is brought over yet.")
        for sentence in log.describe_passed_over():
            click.echo(f"To be passed over: {sentence}.")
        if log.bad:
            click.echo(f"{format_count(log.bad, 'line')} cannot be used.")
