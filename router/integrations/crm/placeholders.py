"""The placeholders with which the fields of a lead are filled."""

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

LEVELS = tuple(f"sourceLevel{level}" for level in range(1, 8))
UTM = ("utmSource", "utmMedium", "utmCampaign", "utmTerm", "utmContent")
OF_VISIT = {"visit": "number", "landingPage": "page", "referrer": "referrer", "ip": "address", "visitor_uid": "visitor"}
"""Placeholders that are columns of the visit."""

PLACEHOLDERS = frozenset(
    (
        *(*UNKNOWN_HERE, *OLD_PARAMS, *CLICK_IDS, *LEVELS, *UTM, *OF_VISIT),
        *("phone", "source", "markerSource", "googleClientId", "country", "domain", "date", "callId", "recording"),
    )
)


def placeholder_values(call: Call, visit: Visit | None, project: Project) -> dict[str, str]:
    """Every placeholder with its value; what is not known is empty."""
    source: Mapping[str, Any] = call.source or {}
    levels = [str(source.get(part) or "") for part in ("source", "medium", "campaign", "term", "content")]
    site = project.site[0] if project.site else ""
    values = dict.fromkeys(PLACEHOLDERS, "")
    values.update(zip(LEVELS, levels, strict=False))
    values.update(zip(UTM, levels, strict=True))
    values |= {
        "phone": call.caller or "",
        "source": str(source.get("source") or source.get("channel") or ""),
        "callId": call.sid,
        "markerSource": "_".join(level for level in levels[:3] if level),
        "country": (country_of(call.caller) if call.caller else None) or "",
        "domain": (host_of(visit.page) if visit else "") or site,
        "date": call.started_at.astimezone(ZoneInfo(project.timezone)).strftime("%Y-%m-%d %H:%M:%S"),
    }
    if visit is not None:
        values |= {name: str(getattr(visit, column)) for name, column in OF_VISIT.items()}
        values |= {name: str(visit.click_ids.get(name) or "") for name in CLICK_IDS}
        values |= {place: visit.params.get(name, "") for place, name in OLD_PARAMS.items()}
        values |= {f"{PARAM}{name}": text for name, text in visit.params.items()}
        values["googleClientId"] = str(visit.ga.get("client_id") or "")
    return values


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
