"""What a page complains about."""

from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import ConsoleMessage, Error, Page


@contextmanager
def complaints_of(page: Page) -> Iterator[list[str]]:
    """Errors and warnings of a page's console, and exceptions that nobody caught, as they come while the block runs."""
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    def note(error: Error) -> None:
        complaints.append(str(error))

    page.on("console", hear)
    page.on("pageerror", note)
    yield complaints
    page.remove_listener("console", hear)
    page.remove_listener("pageerror", note)
