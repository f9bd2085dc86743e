"""Call logs for tests: a German project with three tracking numbers."""

import io
from collections.abc import Mapping
from datetime import UTC, datetime

from router.voice.importing.calls import CallLog, Choices
from router.voice.importing.reading import Numbers, read_call_log

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
OURS, SECOND, MOBILE = "+493090182011", "+493090182012", "+4915735980001"
NUMBERS = Numbers("DE", "Europe/Berlin", {OURS: 1, SECOND: 2, MOBILE: 3})
CALLER = "+4915112345678"
AT = "2026-11-03 14:05"


def read(text: str | bytes, choices: Choices | None = None, numbers: Numbers = NUMBERS) -> CallLog:
    data = text if isinstance(text, bytes) else text.encode()
    return read_call_log(io.BytesIO(data), numbers, choices or Choices(), NOW)


def table(columns: Mapping[str, str], delimiter: str = ",") -> str:
    """A log with one line."""
    return "\n".join(delimiter.join(f'"{cell}"' for cell in line) for line in (columns, columns.values())) + "\n"


def said(log: CallLog) -> list[tuple[str, str, str]]:
    """Number, caller and time of each call."""
    return [(one.number, one.caller, f"{one.started_at:%Y-%m-%d %H:%M}") for one in log.calls]
