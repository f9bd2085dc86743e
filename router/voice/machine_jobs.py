"""Callers are led on when a machine has answered: the carrier says so some seconds after it has connected both, and the worker asks it to
leave the machine and to go on with the flow.

Nothing of this stands between a caller and an answer, and whatever fails, he stays connected as he is. A request whose outcome is unknown
is not repeated: the next line may be ringing already, and would be rung anew."""

from datetime import datetime, timedelta

import structlog
from sqlalchemy import delete, select

from router.carriers.base import ShopError, TryLater
from router.config import SettingsError
from router.jobs import Claim, Jobs, work_side_by_side
from router.server import Server
from router.voice.machines import LED_ON_WITHIN
from router.voice.models import Call, Redirect
from router.voice.recording_jobs import shop_of_call

log = structlog.get_logger(__name__)

AGAIN_AFTER = timedelta(seconds=2)
KEPT = timedelta(hours=1)
AT_ONCE = 8

REDIRECTS = Jobs(
    Redirect, Redirect.next_at.is_not(None), timedelta(seconds=30), due_at=Redirect.next_at, fence=(Redirect.next_at,)
)


def lead_callers_on(server: Server, now: datetime) -> int:
    """Asks the carrier for what is due, some side by side; returns for how many."""
    with server.database.reading() as session:
        is_due = bool(REDIRECTS.due_ids(session, now, 1))
    if not is_due:
        return 0
    with server.database.writing() as session:
        session.execute(delete(Redirect).where(Redirect.told_at < now - KEPT))
        claims = REDIRECTS.claim_due(session, now, AT_ONCE)
    work_side_by_side(claims, lambda claim: _lead_on(server, claim), "redirect")
    return len(claims)


def _lead_on(server: Server, claim: Claim[Redirect]) -> None:
    redirect, again = claim.job, False
    with server.database.reading() as session:
        ended_at = session.scalar(select(Call.ended_at).where(Call.sid == redirect.call_sid))
    if ended_at is None and server.now() - redirect.told_at <= LED_ON_WITHIN:
        try:
            shop = shop_of_call(server, redirect.project_id, redirect.call_sid)
            shop.redirect_call(redirect.call_sid, server.settings.base_url + redirect.path)
        except TryLater as error:
            again = True
            log.warning("caller_not_led_on_yet", call=redirect.call_sid, reason=str(error))
        except (ShopError, SettingsError) as error:
            log.warning("caller_not_led_on", call=redirect.call_sid, reason=str(error))
    with server.database.writing() as session:
        held = REDIRECTS.held(session, claim)
        if held is not None:
            held.next_at = server.now() + AGAIN_AFTER if again else None
