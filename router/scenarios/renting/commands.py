"""Commands for numbers. `router.cli` passes a function that makes the server."""

import click

from router.accounts.commands import Opener, opened
from router.carriers.shop import ShopError
from router.scenarios.renting.carrier_sync import sync_numbers


@click.group("numbers")
def numbers() -> None:
    """Rented numbers."""


@numbers.command("sync")
@click.option("--configure", is_flag=True, help="Point the voice addresses of all numbers to this server again.")
@click.pass_obj
def sync(open_server: Opener, configure: bool) -> None:
    """Compare the carrier's numbers with ours: bring in what was bought unnoticed, mark what the carrier does not have."""
    with opened(open_server) as server:
        try:
            synced = sync_numbers(server, server.now(), configure)
        except ShopError as error:
            raise click.ClickException(str(error)) from None
    for sentence in synced.sentences:
        click.echo(sentence)
    click.echo(f"Here and at the carrier: {synced.both}.")
