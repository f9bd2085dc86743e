"""The `router` command."""

import os
import sys

import click
from sqlalchemy.exc import SQLAlchemyError

from router.accounts.cli import token, user
from router.accounts.members import setup_link
from router.accounts.models import ANOTHER_KEY, demand_key
from router.app import make_server
from router.attribution.planner.views import plan
from router.carriers import carrier_of
from router.config import SettingsError, read_settings
from router.db import migrate as migrate_database
from router.db import schema_state
from router.demo.run import demo_environment, prepare_demo, say_when_ready
from router.operations import configure_logs, key_fits
from router.scenarios.importing.views import import_old
from router.scenarios.numbers.sync import numbers
from router.server import Server
from router.supervisor import PortTaken, claim_port, python, supervise, web_command
from router.voice.importing.command import import_calls
from router.worker import Worker


@click.group()
@click.pass_context
def router(context: click.Context) -> None:
    """Call tracking and call routing server."""
    context.obj = open_server


def open_server() -> Server:
    return make_server(read_settings())


router.add_command(user)
router.add_command(token)
router.add_command(numbers)
router.add_command(import_old)
router.add_command(import_calls)
router.add_command(plan)


@router.command()
def migrate() -> None:
    """Bring the database's schema up to this version."""
    server = open_server()
    try:
        demand_key(server)
        migrate_database(server.database)
    finally:
        server.database.dispose()
    click.echo("The database's schema is current.")


@router.command()
@click.option("--no-worker", is_flag=True, help="Leave the worker out: another unit runs it.")
def serve(no_worker: bool) -> None:
    """Run the web server; with the embedded database its worker too."""
    settings = read_settings()
    configure_logs(settings.log_level)
    with claim_port(settings.host, settings.port) as listening:
        server = make_server(settings)
        carrier_of(server)  # what would refuse every call is said now
        prepare(server)
        commands = {"web": web_command("router.app:create_app()", listening)}
        if settings.embedded and not no_worker:
            commands["worker"] = python("-m", "router", "worker")
        server.database.dispose()
        supervise(commands, listening=listening)


@router.command()
def worker() -> None:
    """Run the background process: deliveries and chores."""
    settings = read_settings()
    configure_logs(settings.log_level)
    server = make_server(settings)
    if not key_fits(server):
        server.database.dispose()
        raise SettingsError(ANOTHER_KEY)
    Worker(server).run()


@router.command()
def demo() -> None:
    """Try everything on this machine: example web site, simulated carrier, no account anywhere."""
    settings = read_settings(demo_environment(os.environ))
    with claim_port(settings.host, settings.port) as listening:
        prepared = prepare_demo(os.environ, click.echo)
        say_when_ready(prepared, click.echo)
        commands = {
            "exchange": python("-m", "router.demo.outside"),
            "web": web_command("router.app:create_demo_app()", listening),
            "worker": python("-m", "router", "worker"),
        }
        supervise(commands, prepared.environment, listening)


def prepare(server: Server) -> None:
    """An empty embedded database gets its tables; an unused server prints the link of its set-up page. A database that is away or
    old does not keep calls from being answered."""
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


def main() -> None:
    try:
        router.main(prog_name="router")
    except (SettingsError, PortTaken) as error:
        click.echo(f"router: {error}", err=True)
        sys.exit(2)
