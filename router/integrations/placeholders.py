"""What templates of CRM fields may name: the market's placeholders (`Call from {phone}, {utmCampaign}`), click ids by their names
(`{gclid}`), and the site's own fields (`{param.plan}`)."""

import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from router.accounts.models import Project
from router.attribution.models import Visit
from router.attribution.tracking.parameters import CLICK_IDS
from router.attribution.tracking.schema import FIELD_NAME
from router.lib.phones import country_of
from router.voice.models import Call
from router.web.network import host_of

PLACE = re.compile(r"\{([^{}]*)\}")
UNKNOWN_HERE = (
    *("city", "region", "agent", "email", "name", "os", "metrikaClientId", "facebookClientId", "firstVisit"),
    *(f"sourceAliasLevel{level}" for level in range(1, 8)),
)
"""Known on the market and not to us: they stay empty, so that templates can be taken over as they are."""

OLD_PARAMS = {f"roistatParam{place}": f"roistat_param{place}" for place in range(1, 6)}
"""The market's placeholders of the site's own fields, with the fields that they stand for."""

PARAM = "param."
"""`{param.NAME}` is the site's own field of this name."""


def placeholder_values(call: Call, visit: Visit | None, project: Project) -> dict[str, str]:
    """Every placeholder with its value; what is not known is empty."""
    source: Mapping[str, Any] = call.source or {}
    page = visit.page if visit else ""
    levels = [str(source.get(part) or "") for part in ("source", "medium", "campaign", "term", "content")]
    values = dict.fromkeys(UNKNOWN_HERE, "")
    values |= {f"sourceLevel{level}": [*levels, "", ""][level - 1] for level in range(1, 8)}
    values |= {
        "phone": call.caller or "",
        "visit": str(visit.number) if visit else "",
        "landingPage": page,
        "referrer": visit.referrer if visit else "",
        "source": str(source.get("source") or source.get("channel") or ""),
        "markerSource": "_".join(level for level in levels[:3] if level),
        "utmSource": levels[0],
        "utmMedium": levels[1],
        "utmCampaign": levels[2],
        "utmTerm": levels[3],
        "utmContent": levels[4],
        "googleClientId": str(visit.ga.get("client_id") or "") if visit else "",
        "ip": visit.address if visit else "",
        "visitor_uid": visit.visitor if visit else "",
        "country": (country_of(call.caller) if call.caller else None) or "",
        "domain": host_of(page) or (project.site[0] if project.site else ""),
        "date": call.started_at.astimezone(ZoneInfo(project.timezone)).strftime("%Y-%m-%d %H:%M:%S"),
    }
    values |= {name: str(visit.click_ids.get(name) or "") if visit else "" for name in CLICK_IDS}
    params = visit.params if visit else {}
    values |= {place: params.get(name, "") for place, name in OLD_PARAMS.items()}
    return values | {f"{PARAM}{name}": text for name, text in params.items()}


PLACEHOLDERS = frozenset(
    (
        *(*UNKNOWN_HERE, *OLD_PARAMS, *CLICK_IDS),
        *(f"sourceLevel{level}" for level in range(1, 8)),
        *("phone", "visit", "landingPage", "referrer", "source", "markerSource", "utmSource", "utmMedium"),
        *("utmCampaign", "utmTerm", "utmContent", "googleClientId", "ip", "visitor_uid", "country", "domain", "date"),
    )
)


def unknown_placeholder(template: str) -> str | None:
    """The first placeholder of a template that does not exist."""
    for name in PLACE.findall(template):
        is_own_field = name.startswith(PARAM) and FIELD_NAME.fullmatch(name, len(PARAM))
        if name not in PLACEHOLDERS and not is_own_field:
            return str(name)
    return None


def fill(template: str, values: Mapping[str, str]) -> str:
    """The template with its values; values are never read as templates themselves."""
    return PLACE.sub(lambda place: values.get(place.group(1), ""), template)
