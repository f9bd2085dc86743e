"""The `router` command."""

import sys

import click

from router.app import make_server
from router.database import migrate as migrate_database
from router.settings import SettingsError, read_settings


@click.group()
def router() -> None:
    """Call tracking and call routing server."""


@router.command()
def migrate() -> None:
    """Bring the database's schema up to this version."""
    server = make_server(read_settings())
    migrate_database(server.database)
    click.echo("The database's schema is current.")


def main() -> None:
    try:
        router.main(prog_name="router")
    except SettingsError as error:
        click.echo(f"router: {error}", err=True)
        sys.exit(2)
