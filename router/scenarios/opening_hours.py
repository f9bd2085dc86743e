"""Opening hours: which times of a week fit a moment, in the project's time zone. Pure rules.

Clocks on the wall decide: in the hour that a clock change repeats both are open that would be open in one, and an hour that it leaves out
never comes."""

from collections.abc import Container, Iterable
from datetime import date, datetime, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from router.scenarios.fields import StrictSchema, written_as

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
END_OF_DAY = "24:00"


Clock = Annotated[
    str,
    written_as(rf"([01][0-9]|2[0-3]):[0-5][0-9]|{END_OF_DAY}", "Write a time like 09:00; 24:00 is the end of a day."),
]
"""HH:MM; texts of this form are in the order of the times."""


class OpeningTimes(StrictSchema):
    """From `opens` until before `closes` on each of the days. What closes earlier than it opens closes on the next day."""

    days: Annotated[
        list[Day],
        Field(min_length=1, max_length=7),
        AfterValidator(lambda days: [day for day in DAYS if day in days]),
    ]
    opens: Clock
    closes: Clock

    @model_validator(mode="after")
    def _last(self) -> Self:
        if self.opens in (self.closes, END_OF_DAY):
            raise ValueError("Say when it opens and closes, like 09:00 and 17:00; a whole day is 00:00 to 24:00.")
        return self


def fits_times(
    times: Iterable[OpeningTimes], at: datetime, zone: ZoneInfo, holidays: Container[date] = frozenset()
) -> bool:
    """Whether one of the times fits the moment. On a holiday none begins, and none goes on from the day before."""
    local = at.astimezone(zone)
    today, clock = local.date(), f"{local.hour:02}:{local.minute:02}"
    if today in holidays:
        return False
    day, day_before = DAYS[today.weekday()], DAYS[today.weekday() - 1]
    for each in times:
        is_overnight = each.closes < each.opens
        if day in each.days and each.opens <= clock and (is_overnight or clock < each.closes):
            return True
        if (
            is_overnight
            and day_before in each.days
            and clock < each.closes
            and today - timedelta(days=1) not in holidays
        ):
            return True
    return False
