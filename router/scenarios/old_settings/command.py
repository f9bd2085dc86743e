"""`router import-old`. `router.cli` passes a function that makes the server."""

from pathlib import Path

import click

from router.accounts.commands import CONSOLE, Opener, opened, project_of
from router.formats import say_count
from router.phones import international
from router.scenarios.old_settings.apply import Imported, apply_old_settings
from router.scenarios.old_settings.lines import PHONES, read_old_file
from router.scenarios.old_settings.plan import ImportPlan, make_plan
from router.scenarios.old_settings.table import UnreadableFile
from router.scenarios.old_settings.two_readings import Choice
from router.scenarios.old_settings.two_readings_option import numbers_option, say_number_questions
from router.scenarios.refusal import Refused
from router.web import Problem


@click.command("import-old")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--project", type=int, required=True, help="The project's id.")
@click.option("--apply", "applying", is_flag=True, help="Do what the plan says; without it nothing is changed.")
@numbers_option(*PHONES)
@click.pass_obj
def import_old(open_server: Opener, file: Path, project: int, applying: bool, numbers: dict[str, Choice]) -> None:
    """Bring old number settings over: number, destination, prefix, selectors, format, type, channel.

    Numbers with identical settings become one scenario each, switched off. All or nothing: a line that cannot be used keeps
    everything from being brought over, and so does a number that can be read in two ways. A second time nothing changes.
    """
    with opened(open_server) as server:
        with server.database.reading() as session:
            owner = project_of(session, project)
            try:
                old = read_old_file(file.read_bytes(), owner.country, numbers)
            except UnreadableFile as error:
                raise click.ClickException(str(error)) from None
            plan = make_plan(session, server, owner, old)
        _say_plan(plan)
        if plan.problems:
            raise click.ClickException(
                f"Nothing is brought over: {say_count(len(plan.problems), 'line')} cannot be used."
            )
        if plan.questions:
            raise click.ClickException("Nothing is brought over before it is said how these numbers are to be read.")
        if not applying:
            click.echo("Nothing is changed yet: repeat with --apply." if plan.changes else "There is nothing to do.")
            return
        try:
            with server.database.writing() as session:
                done = apply_old_settings(session, server, owner, CONSOLE, old, server.now())
        except (Refused, Problem) as refusal:
            raise click.ClickException(f"Nothing was brought over: {refusal}") from None
    _say_done(done)


def _say_plan(plan: ImportPlan) -> None:
    for one in plan.scenarios:
        click.echo("\n  ".join([one.title, one.say(), *one.notes()]))
        for number in one.numbers:
            if number.line not in plan.problems:
                click.echo(f"  line {number.line}: {international(number.e164)}, {one.what_becomes_of(number.e164)}")
    for line, sentence in plan.problems.items():
        click.echo(f"Line {line} cannot be used: {sentence}", err=True)
    say_number_questions(plan.questions)


def _say_done(done: Imported) -> None:
    click.echo(done.say())
    for scenario_id, title in done.scenarios:
        click.echo(f"  {scenario_id}: {title}")
    if done.made:
        click.echo("They are switched off: enable them when the tag is in the pages.")
    click.echo(done.page_variable())
