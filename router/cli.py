"""The `router` command."""

import sys

import click

from router.accounts.commands import token, user
from router.app import make_server
from router.database import migrate as migrate_database
from router.server import Server
from router.settings import SettingsError, read_settings


@click.group()
@click.pass_context
def router(context: click.Context) -> None:
    """Call tracking and call routing server."""
    context.obj = open_server


def open_server() -> Server:
    return make_server(read_settings())


router.add_command(user)
router.add_command(token)


@router.command()
def migrate() -> None:
    """Bring the database's schema up to this version."""
    server = open_server()
    migrate_database(server.database)
    click.echo("The database's schema is current.")


def main() -> None:
    try:
        router.main(prog_name="router")
    except SettingsError as error:
        click.echo(f"router: {error}", err=True)
        sys.exit(2)
