"""docs/moving.md: the times that it promises are read so."""

import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from router.voice.importing.times import BadTime, read_time

MOVING = Path(__file__).parents[3] / "docs" / "moving.md"
LINE = re.compile(r"^\| `([^`]+)` \| (\d{4}-\d\d-\d\d \d\d:\d\d|asked, .*|not a time) \|$", re.MULTILINE)
DOCUMENTED = LINE.findall(MOVING.read_text(encoding="utf-8"))
BERLIN = ZoneInfo("Europe/Berlin")


def test_the_table_of_times_is_found() -> None:
    assert len(DOCUMENTED) > 20


@pytest.mark.parametrize(("written", "promised"), DOCUMENTED)
def test_r13_a_documented_time_is_read_as_the_documentation_says(written: str, promised: str) -> None:
    if promised == "not a time":
        with pytest.raises(BadTime):
            read_time(written)
        return
    time = read_time(written)
    if promised.startswith("asked"):
        assert len(time.orders) > 1
        assert not time.is_dotted
    else:
        assert f"{time.moment(None, BERLIN):%Y-%m-%d %H:%M}" == promised
