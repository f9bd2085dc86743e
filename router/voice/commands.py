"""`router import-calls`. `router.cli` passes a function that makes the server."""

from pathlib import Path

import click

from router.accounts import audit
from router.accounts.commands import CONSOLE, Opener, opened, project_of
from router.formats import say_count
from router.scenarios.old_settings.table import UnreadableFile
from router.voice.import_calls import read_old_calls, write_old_calls

MOST_SAID = 50
"""Lines that are named one by one."""


@click.command("import-calls")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--project", type=int, required=True, help="The project's id.")
@click.option("--skip-bad", is_flag=True, help="Bring the other lines over when some cannot be used.")
@click.pass_obj
def import_calls(open_server: Opener, file: Path, project: int, skip_bad: bool) -> None:
    """Bring a call history over: number, caller, started_at, source, medium, campaign.

    Customers who called before are known then, with the source that brought them first. Nobody is told about these calls, and a
    second import of the same file changes nothing.
    """
    with opened(open_server) as server:
        now = server.now()
        try:
            with server.database.reading() as session:
                owner = project_of(session, project)
                found = read_old_calls(session, owner, file.read_bytes(), now)
        except UnreadableFile as error:
            raise click.ClickException(str(error)) from None
        for line, sentence in list(found.problems.items())[:MOST_SAID]:
            click.echo(f"Line {line}: {sentence}", err=True)
        if len(found.problems) > MOST_SAID:
            click.echo(f"… and {len(found.problems) - MOST_SAID:,} more lines.", err=True)
        if found.problems and not skip_bad:
            bad = say_count(len(found.problems), "line")
            raise click.ClickException(
                f"Nothing was brought over: {bad} cannot be used. Mend it, or repeat with --skip-bad."
            )
        written = write_old_calls(server, owner, found.calls, now)
        if written:
            with server.database.writing() as session:
                audit.record(session, CONSOLE, now, "calls.imported", say_count(written, "call"), project)
    click.echo(f"Brought over: {say_count(written, 'call')}. Here already: {len(found.calls) - written:,}.")
    if found.withheld:
        click.echo(
            f"Passed over: {say_count(found.withheld, 'call')} of withheld numbers, by which nobody is recognised."
        )
    if found.problems:
        click.echo(f"Skipped: {say_count(len(found.problems), 'line')}.")
