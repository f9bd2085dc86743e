"""R7: a caller's first and newest calls to a number are his own, also when many callers are asked for at once."""

from datetime import timedelta
from typing import Any

from router.lib.phones import read_caller
from router.server import Server
from router.voice.earlier_calls import OF_KNOWN, values_of_line
from router.voice.routing import find_route
from tests.factories import NOON
from tests.voice.test_repeat_callers import NUMBER, SECOND, Shop

MEXICAN_MOBILE, THE_SAME_LINE = "+5215512345678", "+525512345678"
CALLERS = ("+4915123460002", "+4915123460003", THE_SAME_LINE, "+4915123460009")
LATER = NOON + timedelta(hours=1)


def test_r7_of_many_callers_at_once_each_has_his_own_calls(server: Server) -> None:
    with server.database.writing() as session:
        shop = Shop(server, session, "first_call")
        called = [
            (CALLERS[1], NUMBER, 10), (CALLERS[0], NUMBER, 20), (MEXICAN_MOBILE, NUMBER, 5), (CALLERS[0], SECOND, 1),
            (CALLERS[0], NUMBER, 40), (CALLERS[1], NUMBER, 40), (THE_SAME_LINE, NUMBER, 30), (CALLERS[0], NUMBER, 20),
        ]  # fmt: skip
        began: dict[tuple[str, str], list[tuple[Any, str]]] = {}
        for place, (caller, number, seconds) in enumerate(called):
            at, sid = NOON + timedelta(seconds=seconds), f"CA{place}"
            shop.call(sid, number, caller, at)
            began.setdefault((caller.replace(MEXICAN_MOBILE, THE_SAME_LINE), number), []).append((at, sid))
        asked = [(caller, number) for caller in CALLERS for number in (NUMBER, SECOND)]
        values = []
        for caller, number in asked:
            route = find_route(session, number)
            assert route is not None
            line = values_of_line(route, read_caller(caller))
            values.append(line | {"before": LATER, "sid": "CA99", "since": NOON + timedelta(seconds=20)})
        of_line = [sorted(began.get(line, [])) for line in asked]
        of_first = [{key: value for key, value in each.items() if key != "since"} for each in values]
        of_last = [{key: value for key, value in each.items() if key not in ("before", "sid")} for each in values]
        first = OF_KNOWN.first.many(session, of_first)
        assert [[row.started_at for row in rows] for rows in first] == [[at for at, _ in each[:1]] for each in of_line]
        assert first == [rows for each in of_first for rows in OF_KNOWN.first.many(session, [each])]
        direct = OF_KNOWN.last_non_direct.many(session, of_first)
        assert [[row.started_at for row in rows] for rows in direct] == [
            [at for at, _ in each[-1:]] for each in of_line
        ]
        last = [[(row.started_at, row.sid) for row in rows] for rows in OF_KNOWN.last.many(session, of_last)]
        since = values[0]["since"]
        assert last == [[place for place in each[-1:] if place[0] >= since] for each in of_line]
        session.rollback()
