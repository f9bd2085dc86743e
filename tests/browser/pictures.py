"""Screenshots to look at, in artefacts/pages: made with `pytest --pictures tests/browser`."""

import re
from pathlib import Path

from playwright.sync_api import Page

FOLDER = Path(__file__).parents[2] / "artefacts" / "pages"

wanted = False
"""Set by the option `--pictures`."""


def picture(page: Page, path: str, scheme: str, width: int) -> None:
    if not wanted:
        return
    name = re.sub(r"[^\w.-]+", "-", path).strip("-") or "start"
    FOLDER.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=FOLDER / f"{name}-{scheme}-{width}.jpg", type="jpeg", quality=80, full_page=True)
