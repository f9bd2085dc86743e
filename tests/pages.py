"""Pages as a person reads them."""

from werkzeug.test import TestResponse


def words_of(page: TestResponse) -> str:
    """The HTML of a page with each run of white space as one space, as browsers show it."""
    return " ".join(page.text.split())
