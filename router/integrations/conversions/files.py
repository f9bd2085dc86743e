"""The files of conversions behind secret addresses, in the columns of the vendors' own templates. Times are UTC, and say so, so that no
change of clocks and no other time zone of an account moves a call."""

import csv
import hmac
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Blueprint, Response, request
from sqlalchemy import select
from sqlalchemy.orm import Session

from router.attribution.models import Visit
from router.integrations.conversions import (
    CLICK_ID,
    GOOGLE_ADS,
    MICROSOFT_ADS,
    Conversion,
    why_not,
    worth,
)
from router.integrations.models import Integration
from router.scenarios.models import Scenario
from router.server import current_server
from router.voice.models import EXTERNAL, Call
from router.web.access import Audience, guard
from router.web.errors import Problem, client_address, client_group
from router.web.network import RateLimit

UTC_LINE = "Parameters:TimeZone=+0000"
MOST_ROWS = 50_000
RATE = RateLimit("30/minute")
"""Of one client; a vendor fetches once a day, or once an hour."""


@dataclass(frozen=True)
class FileFormat:
    click_id: str
    """The parameter of a landing page that names the click."""
    columns: tuple[str, ...]
    more: Callable[[Mapping[str, Any]], tuple[str, ...]] = lambda config: ()
    """The values of the columns after the five that both vendors have."""


SHARED = ("Conversion Name", "Conversion Time", "Conversion Value", "Conversion Currency")
FORMATS = {
    GOOGLE_ADS.kind: FileFormat(
        "gclid",
        ("Google Click ID", *SHARED, "Ad User Data", "Ad Personalization"),
        lambda config: (str(config.get("consent") or "").upper(),) * 2,
    ),
    MICROSOFT_ADS.kind: FileFormat("msclkid", ("Microsoft Click ID", *SHARED)),
}


def conversions_of(session: Session, integration: Integration, now: datetime) -> Iterator[Conversion]:
    """The calls of a scenario that count, the oldest first: from outside, over, with a click of a visitor who agreed."""
    config, click = integration.config, FORMATS[integration.kind].click_id
    value, currency = worth(config)
    calls = (
        select(Call.started_at, Call.status, Call.talk_seconds, Call.first_call, Call.confidence, Visit.click_ids)
        .join(Visit, Visit.id == Call.visit_id)
        .where(
            Call.scenario_id == integration.scenario_id,
            Call.kind == EXTERNAL,
            Call.started_at >= now - timedelta(days=int(config.get("days") or 14)),
            Call.ended_at.is_not(None),
            Call.forgotten_id.is_(None),
            Visit.limited.is_(False),
        )
        .order_by(Call.started_at, Call.id)
        .limit(MOST_ROWS)
    )
    for row in session.execute(calls.execution_options(yield_per=500)):
        click_id = str(row.click_ids.get(click) or "")
        if not CLICK_ID.fullmatch(click_id):
            continue
        if why_not(config, row.status, row.talk_seconds, row.first_call, row.confidence):
            continue
        yield Conversion(click_id, row.started_at, str(config["name"]), value, currency)


def file_of(session: Session, integration: Integration, now: datetime) -> str:
    """The whole file."""
    layout, text = FORMATS[integration.kind], io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow((UTC_LINE, *[""] * (len(layout.columns) - 1)))
    writer.writerow(layout.columns)
    more = layout.more(integration.config)
    for one in conversions_of(session, integration, now):
        writer.writerow((one.click_id, one.name, f"{one.at:%Y-%m-%d %H:%M:%S}", one.value, one.currency, *more))
    return text.getvalue()


conversion_files = guard(Blueprint("conversion_files", __name__, url_prefix="/conversions"), Audience.PUBLIC)


@conversion_files.get("/<int:scenario_id>/<kind>/<secret>.csv")
def get_file(scenario_id: int, kind: str, secret: str) -> Response:
    """The file, to whom knows the secret in its address."""
    answer = _answer(scenario_id, kind, secret)
    if answer is None:
        raise Problem(404, "There is nothing here.")
    return answer


@conversion_files.get("/<int:scenario_id>/<kind>.csv")
def get_file_by_password(scenario_id: int, kind: str) -> Response:
    """The same with the secret as the password of HTTP's basic authentication, whatever the user's name."""
    password = request.authorization.password if request.authorization else None
    answer = _answer(scenario_id, kind, password or "")
    if answer is None:
        headers = {"WWW-Authenticate": 'Basic realm="conversions"', "Cache-Control": "no-store"}
        return Response("The password is not right.\n", 401, headers, mimetype="text/plain")
    return answer


def _answer(scenario_id: int, kind: str, secret: str) -> Response | None:
    """None: the secret opens nothing; who asks does not learn what there is."""
    server = current_server()
    now = server.now()
    if not RATE.allows(client_group(client_address(request, server.settings.trusted_proxies))):
        raise Problem(429, "Too many requests from one address; try again in a minute.")
    if kind not in FORMATS or not secret:
        return None
    with server.database.reading() as session:
        of_file = (Integration.scenario_id == scenario_id, Integration.slot == kind, Integration.removed_at.is_(None))
        present = select(Integration).join(Scenario, Scenario.id == Integration.scenario_id)
        integration = session.scalar(present.where(*of_file, Integration.kind == kind, Scenario.deleted_at.is_(None)))
        if integration is None:
            return None
        sealed = [integration.sealed]
        if integration.sealed_before and integration.earlier_until and now < integration.earlier_until:
            sealed.append(integration.sealed_before)
        opened = [server.keys.unseal(one) for one in sealed if one]
        if not any(hmac.compare_digest(one.encode(), secret.encode()) for one in opened):
            return None
        text = file_of(session, integration, now)
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{kind}.csv"'}
    return Response(text, headers=headers, mimetype="text/csv")
