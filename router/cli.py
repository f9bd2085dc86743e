"""The `router` command. Each command imports what it uses when it runs, so that help and small commands start at once."""

import gc
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from router.server import Server

APPLICATION = "router.app:create_app()"


class Imported(click.Command):
    """A command of another module, which is imported when the command is used; the list of commands shows `summary`."""

    def __init__(self, name: str, path: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self.path = path

    def load(self) -> click.Command:
        module, attribute = self.path.split(":")
        gc.disable()  # what imports make stays: looking for garbage in it is a tenth of their time
        try:
            command: click.Command = getattr(import_module(module), attribute)
        finally:
            gc.freeze()
            gc.enable()
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return self.load().make_context(info_name, args, parent, **extra)


@click.group()
@click.pass_context
def router(context: click.Context) -> None:
    """Call tracking and call routing server."""
    of_accounts = context.invoked_subcommand in ("user", "token")
    context.obj = open_accounts if of_accounts else open_server


def open_server() -> "Server":
    """The server as web processes have it, with every receiver connected; its log goes to standard error."""
    from router.app import make_server
    from router.config import read_settings
    from router.operations import configure_logs

    settings = read_settings()
    configure_logs(settings.log_level)
    return make_server(settings)


def open_accounts() -> "Server":
    """Settings, keys and database: all that commands for the schema, people and tokens need."""
    from router.config import read_settings
    from router.server import bare_server

    return bare_server(read_settings())


for name, path, summary in (
    ("user", "router.accounts.cli:user", "People who sign in."),
    ("token", "router.accounts.cli:token", "Tokens of programs that use the API."),
    ("numbers", "router.scenarios.numbers.sync:numbers", "Rented numbers."),
    (
        "reconcile",
        "router.voice.reconciliation:reconcile_command",
        "Compare the carrier's calls with ours: write and complete what is missing here, note prices.",
    ),
    (
        "doctor",
        "router.doctor:doctor",
        "Say what is wrong with this installation; the exit status is 1 when something is.",
    ),
    (
        "import-old",
        "router.scenarios.importing.views:import_old",
        "Bring old number settings over: number, destination, prefix, selectors, format, type, channel.",
    ),
    (
        "import-calls",
        "router.voice.importing.views:import_calls",
        "Bring a call history over: the call log of another service, as it exports it.",
    ),
    (
        "forget-caller",
        "router.voice.forgetting:forget_caller_command",
        "Erase a caller's number in a project, in every spelling; his calls stay and count.",
    ),
    (
        "plan",
        "router.attribution.planner.views:plan",
        "Say what a scenario's pool would tell with fewer and with more numbers.",
    ),
):
    router.add_command(Imported(name, path, summary))


@router.command()
def migrate() -> None:
    """Bring the database's schema up to this version."""
    from router.accounts.models import demand_key
    from router.db import migrate as migrate_database

    server = open_accounts()
    try:
        demand_key(server)
        migrate_database(server.database)
    finally:
        server.database.dispose()
    click.echo("The database's schema is current.")


@router.command()
@click.option("--no-worker", is_flag=True, help="Leave the worker out: another unit runs it.")
@click.option("--check", is_flag=True, help="Only look whether the server could start.")
def serve(no_worker: bool, check: bool) -> None:
    """Run the telephone's and the web's processes; with the embedded database the worker too. SIGHUP starts them anew; calls go on."""
    from router.config import read_settings
    from router.supervisor import (
        BEHIND_CALLS,
        SENDING_THREADS,
        TELEPHONE,
        WEB,
        Command,
        hold_services,
        supervise,
        web_command,
    )

    settings = read_settings()
    if check:
        from router.app import create_app

        create_app(settings).extensions["router"].database.dispose()
        return
    holdings = hold_services(settings.host, settings.port)
    try:
        read_program()
        from router.app import make_server
        from router.operations import configure_logs
        from router.voice.applier import begin_journal

        configure_logs(settings.log_level)
        server = make_server(settings)
        begin_journal(server)
        prepare_for_a_while(server)
        at = holdings.listening
        commands = {
            TELEPHONE: web_command(APPLICATION, at[TELEPHONE], settings.telephone_workers, SENDING_THREADS),
            WEB: web_command(APPLICATION, at[WEB], settings.web_workers, settings.web_threads, BEHIND_CALLS),
            "applier": Command("router.cli:main", ("applier",)),
        }
        if settings.embedded and not no_worker:
            commands["worker"] = Command("router.cli:main", ("worker",), BEHIND_CALLS)
        server.database.dispose()
        options = ["--no-worker"] if no_worker else []
        supervise(commands, holdings=holdings, successor=[sys.executable, "-m", "router", "serve", *options])
    finally:
        holdings.close()


def read_program() -> None:
    """Imports what the supervisor's processes run, which are forks of it. After `Holdings` were made: counters look where they stand."""
    for name in (
        "gunicorn.app.wsgiapp",
        "router.app",
        "router.gunicorn_worker",
        "router.worker",
        "router.voice.applier",
    ):
        import_module(name)


@router.command()
def worker() -> None:
    """Run the background process: deliveries and periodic jobs."""
    from router.accounts.models import ANOTHER_KEY
    from router.app import make_server
    from router.config import SettingsError, read_settings
    from router.operations import configure_logs, key_fits
    from router.worker import Worker

    settings = read_settings()
    configure_logs(settings.log_level)
    server = make_server(settings)
    if not key_fits(server):
        server.database.dispose()
        raise SettingsError(ANOTHER_KEY)
    Worker(server).run()


@router.command(hidden=True)
def applier() -> None:
    """Carry this machine's journal into the database; `serve` and `demo` start it."""
    import signal
    import threading

    from router.app import make_server
    from router.config import read_settings
    from router.operations import configure_logs
    from router.voice.applier import Applier, journal_folder

    settings = read_settings()
    configure_logs(settings.log_level)
    server, stop = make_server(settings), threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda number, frame: stop.set())
    # What is there now stays. A batch makes tens of thousands of objects, which go when their last reference goes: to look for garbage
    # among them every 700 took a third of the applier's time.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    Applier(server, journal_folder(server)).run(stop)
    server.database.dispose()


@router.command()
def demo() -> None:
    """Try everything on this machine: example web site, simulated carrier, no account anywhere."""
    from router.supervisor import WEB, Command, Holdings, claim_port, supervise, web_command

    holdings = Holdings({})
    try:
        from router.config import read_settings
        from router.demo.run import demo_environment, prepare_demo, say_when_ready

        settings = read_settings(demo_environment(os.environ))
        listening = claim_port(settings.host, settings.port)
        holdings.listening[WEB] = [listening]
        prepared = prepare_demo(os.environ, click.echo)
        say_when_ready(prepared, click.echo)
        read_program()
        commands = {
            "exchange": Command("router.demo.outside:main"),
            WEB: web_command("router.app:create_demo_app()", [listening]),
            "applier": Command("router.cli:main", ("applier",)),
            "worker": Command("router.cli:main", ("worker",)),
        }
        supervise(commands, prepared.environment, holdings)
    finally:
        holdings.close()


def prepare(server: "Server") -> None:
    """An empty embedded database gets its tables; an unused server prints the link of its set-up page. A database that is away or
    old does not keep calls from being answered."""
    from sqlalchemy.exc import SQLAlchemyError

    from router.accounts.members import setup_link
    from router.accounts.models import ANOTHER_KEY
    from router.db import migrate as migrate_database
    from router.db import schema_state
    from router.operations import key_fits

    try:
        state = schema_state(server.database)
        if state == "empty" and server.settings.embedded:
            migrate_database(server.database)
            state = "current"
        if state != "current":
            click.echo("router: the database's schema is not current; run: router migrate", err=True)
        elif not key_fits(server):
            click.echo(f"router: {ANOTHER_KEY}. Until then calls are forwarded, and all else waits.", err=True)
        elif link := setup_link(server, server.now()):
            click.echo(f"Nobody can sign in yet. Make the operator here (once, within 24 hours): {link}")
    except SQLAlchemyError as error:
        click.echo(
            f"router: the database cannot be reached ({type(error).__name__}); calls get their fallback", err=True
        )


PREPARE_SECONDS = 10.0


def prepare_for_a_while(server: "Server", seconds: float = PREPARE_SECONDS) -> None:
    """The same, but a server apart that does not answer, or whose tables are locked, keeps calls from being answered for so long only. A
    process does it, because a thread would be there still when the supervisor forks."""
    from router.supervisor import FORK

    if server.settings.embedded:
        prepare(server)
        return
    process = FORK.Process(target=prepare, args=(server,), daemon=True)
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        click.echo("router: the database does not answer; calls are led by what this machine knows", err=True)


def main() -> None:
    try:
        router.main(prog_name="router")
    except Exception as error:
        from router.config import SettingsError
        from router.supervisor import PortTaken

        if not isinstance(error, SettingsError | PortTaken):
            raise
        click.echo(f"router: {error}", err=True)
        sys.exit(2)
