"""The machine's clock is set while calls come in. The database's stays right."""

import time
from pathlib import Path

from faults.fault import Fault
from faults.site import Site

SECONDS = 20.0
SET_BY = -600


def follow_file(site: Site) -> None:
    """Each process of the server has a clock that we can set (clock/sitecustomize.py)."""
    site.environ["PYTHONPATH"] = str(Path(__file__).parent / "clock")
    site.environ["FAULTS_CLOCK"] = str(site.folder / "clock")


def set_back(site: Site) -> None:
    (site.folder / "clock").write_text(str(SET_BY))
    time.sleep(SECONDS)


FAULTS = (Fault("clock", "the machine's clock set back by 10 minutes", set_back, follow_file),)
