"""R12: what no journal took is written to the database directly, as soon as it takes it."""

import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest
from sqlalchemy.exc import OperationalError

from router.db import Database
from router.voice.direct import DirectWriter
from router.voice.lookups import Lookups
from router.voice.records import Record
from tests.waiting import eventually


class Table:
    """Takes records, unless it is away; never one whose sid is `wrong`."""

    def __init__(self) -> None:
        self.sids: list[str] = []
        self.transactions = 0
        self.is_away = False

    def write(self, records: Sequence[Record]) -> None:
        if self.is_away:
            raise OperationalError("", {}, Exception("gone"))
        if any(record["sid"] == "wrong" for record in records):
            raise ValueError("wrong")
        self.sids += [record["sid"] for record in records]
        self.transactions += 1


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def attempts() -> Lookups:
    return Lookups(cast(Database, None), "direct", 5.0)


def record(sid: str) -> dict[str, Any]:
    return {"sid": sid}


def test_r12_records_that_the_database_refused_are_written_with_the_next_one_in_their_order(
    table: Table, attempts: Lookups, caplog: pytest.LogCaptureFixture
) -> None:
    writer = DirectWriter(attempts, table.write)
    table.is_away = True
    assert [writer.write(record(sid)) for sid in ("CA1", "CA2")] == [False, False]
    assert sum("record_lost" in entry.getMessage() for entry in caplog.records) == 2
    table.is_away = False
    attempts.resume()
    assert writer.write(record("CA3"))
    assert table.sids == ["CA1", "CA2", "CA3"]
    assert table.transactions == 1


def test_r12_a_record_that_is_wrong_by_itself_keeps_no_other_out(table: Table, attempts: Lookups) -> None:
    writer = DirectWriter(attempts, table.write)
    table.is_away = True
    for sid in ("CA1", "wrong", "CA2"):
        writer.write(record(sid))
    table.is_away = False
    attempts.resume()
    assert writer.write(record("CA3"))
    assert writer.write(record("CA4"))
    assert table.sids == ["CA1", "CA2", "CA3", "CA4"]


def test_r12_threads_that_write_at_once_all_have_their_record_written(table: Table, attempts: Lookups) -> None:
    writer = DirectWriter(attempts, table.write)
    written: list[bool] = []
    threads = [
        threading.Thread(target=lambda sid=f"CA{n}": written.append(writer.write(record(sid)))) for n in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written == [True] * 30
    assert sorted(table.sids) == sorted(f"CA{n}" for n in range(30))


def test_r12_what_is_kept_goes_to_a_journal_that_takes_records_again(table: Table, attempts: Lookups) -> None:
    writer = DirectWriter(attempts, table.write)
    table.is_away = True
    for sid in ("CA1", "wrong", "CA2"):
        writer.write(record(sid))
    journaled: list[Any] = []

    def append(record: Record) -> None:
        if record["sid"] == "wrong":
            raise ValueError("no JSON")
        journaled.append(record["sid"])

    writer.journal(append)
    eventually(lambda: journaled == ["CA1", "CA2"])
    table.is_away = False
    attempts.resume()
    assert writer.write(record("CA3"))
    assert [*journaled, *table.sids] == ["CA1", "CA2", "CA3"]
