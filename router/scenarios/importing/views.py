"""Settings, Bring over (R13): send the old settings, look at their plan, apply it; the file is kept sealed until then. The same as
`router import-old`, for which `router.cli` passes a function that makes the server."""

from pathlib import Path

import click
from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from router.accounts.audit import Change, changing
from router.accounts.cli import CONSOLE, Opener, opened, project_of
from router.lib.formats import format_count
from router.lib.phones import international
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
from router.scenarios.importing.settings import (
    PHONES,
    OldFile,
    apply_old_settings,
    make_plan,
    read_old_file,
)
from router.scenarios.importing.tables import UnreadableFile
from router.scenarios.models import OldSettingsFile
from router.server import current_server
from router.web.access import current_project
from router.web.errors import Problem, Refused

PATH = "/settings/old-settings"
MOST_BYTES = 384 * 1024
"""Of a request with a file; 1,000 lines are about 100 kB."""

old_settings_pages = pages_of_file("old_settings", PATH, OldSettingsFile, MOST_BYTES)

Page = str | tuple[str, int] | Response


@old_settings_pages.get("")
def show() -> Page:
    return _page(_kept())


@old_settings_pages.post("")
def send() -> Page:
    """Keeps the file, if it can be read at all; the plan is shown by the page that follows."""
    sent = request.files.get("file")
    data = sent.read(MOST_BYTES) if sent else b""
    try:
        if sent is None or not sent.filename:
            raise UnreadableFile("Choose a file first.")
        read_old_file(data, current_project().country)
    except UnreadableFile as error:
        return _page(error=str(error)), 422
    with current_server().database.writing() as session:
        keep_file(session, OldSettingsFile, sent.filename, data)
    return redirect(url_for("old_settings.show"))


@old_settings_pages.post("/choose")
def say() -> Page:
    """How numbers of two readings are to be read, by column; an empty choice asks again."""
    choices_by_column = {column: request.form.get(f"numbers.{column}", "") for column in PHONES}
    try:
        choices = read_choices({column: choice for column, choice in choices_by_column.items() if choice})
    except BadChoice as error:
        raise Problem(422, str(error), "numbers") from None
    with current_server().database.writing() as session:
        choose(session, OldSettingsFile, dict(choices))
    return redirect(url_for("old_settings.show"))


@old_settings_pages.post("/apply")
def apply() -> Page:
    """All or nothing; the plan is made anew in the transaction."""
    kept = _kept()
    if kept is None:
        flash("There is no file to apply: send it first.", "bad")
        return redirect(url_for("old_settings.show"))
    try:
        with changing() as change:
            done = apply_old_settings(change, kept[1])
            forget_file(change.session, OldSettingsFile)
    except Refused:
        return _page(kept), 422
    except Problem as refusal:
        if refusal.status != 409:
            raise
        return _page(kept, f"Nothing was brought over. {refusal.detail}"), 409
    return render_template("scenarios/old_settings_done.html", done=done)


def _kept() -> tuple[KeptFile, OldFile] | None:
    """The file that this person sent last; None also when the country changed, so that it cannot be read any more."""
    kept = find_file(OldSettingsFile)
    if kept is None:
        return None
    try:
        return kept, read_old_file(kept.data, current_project().country, read_choices(kept.choices))
    except (UnreadableFile, BadChoice):
        return None


def _page(kept: tuple[KeptFile, OldFile] | None = None, error: str = "") -> str:
    if kept is None:
        return render_template("scenarios/old_settings.html", name="", plan=None, choices={}, error=error)
    sent, file = kept
    server = current_server()
    with server.database.reading() as session:
        plan = make_plan(session, server, current_project(), file)
    return render_template("scenarios/old_settings.html", name=sent.name, plan=plan, choices=sent.choices, error=error)


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
        for planned in plan.scenarios:
            click.echo("\n  ".join([planned.title, planned.say(), *planned.notes()]))
            for number in planned.numbers:
                if number.line not in plan.problems:
                    click.echo(
                        f"  line {number.line}: {international(number.e164)}, {planned.what_becomes_of(number.e164)}"
                    )
        for line, sentence in plan.problems.items():
            click.echo(f"Line {line} cannot be used: {sentence}", err=True)
        say_number_questions(plan.questions)
        if plan.problems:
            raise click.ClickException(
                f"Nothing is brought over: {format_count(len(plan.problems), 'line')} cannot be used."
            )
        if plan.questions:
            raise click.ClickException("Nothing is brought over before it is said how these numbers are to be read.")
        if not applying:
            click.echo("Nothing is changed yet: repeat with --apply." if plan.changes else "There is nothing to do.")
            return
        try:
            with server.database.writing() as session:
                done = apply_old_settings(Change(session, server, owner, CONSOLE, server.now()), old)
        except (Refused, Problem) as refusal:
            raise click.ClickException(f"Nothing was brought over: {refusal}") from None
    click.echo(done.say())
    for scenario_id, title in done.scenarios:
        click.echo(f"  {scenario_id}: {title}")
    if done.made:
        click.echo("They are switched off: enable them when the tag is in the pages.")
    click.echo(done.page_variable())
