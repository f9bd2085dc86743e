"""A draft in the middle of the wizard, as somebody left it."""

from typing import Any

from sqlalchemy.orm import Session

from router.accounts.models import Person, Project
from router.lib.crypto import KeyRing
from router.scenarios.models import ScenarioDraft
from router.scenarios.wizard.drafts import keep
from tests.people import NOW

PAGE = """<header><a class="phone" href="tel:+14155550100">(415) 555-0100</a></header>
<p>Call us: <b id="line">415-555-0100</b> or write.</p>"""

TYPED: dict[str, Any] = {
    "title": "Summer tyres",
    "numbers": {
        "numbers": ["+14155550126"],
        "own": "+44 20 7946 0992",
        "aim": "visit",
        "exhausted": "overflow",
        "overflow": "+14155550127",
        "hold_seconds": "90",
        "to_buy": {
            "numbers": ["+14155557731", "+14155557732"],
            "count": "3",
            "country": "US",
            "area_code": "415",
            "contains": "77",
        },
        "upkeep": {"on": True, "spending_limit": "25.00", "max_numbers": "12"},
    },
    "forwarding": {
        "destinations": [
            {"to": "+1 415 555 0111", "ring_seconds": "20"},
            {"to": "sip:desk@pbx.example.com", "ring_seconds": "30"},
        ]
    },
    "tagging": {
        "selectors": ".phone\n#line\n.missing",
        "replace": "(415) 555-0100",
        "format": "+1 (XXX) XXX-XXXX",
        "sample": PAGE,
    },
    "channels": {
        "channels": [
            {"source": "google", "medium": "cpc", "campaign": "", "gets": "dynamic"},
            {"source": "flyer", "medium": "print", "campaign": "may", "gets": "+14155550126"},
            {"source": "", "medium": "", "campaign": "", "gets": "+442079460992"},
        ]
    },
    "integrations": {
        "manager": "anna@example.com",
        "parts": {
            "integrations": {
                "webhook_end": {"url": "https://hooks.example.com/calls", "secret": "whsec_" + "c2VjcmV0" * 6},
                "crm": {"url": "https://crm.example.com", "database": "main", "key": "k", "kind": "odoo", "fields": ""},
            }
        },
    },
    "terms": {
        "only_sources": "google/cpc\nbing",
        "excluded_sources": "spam*",
        "only_landing_pages": "/tyres/*",
        "excluded_landing_pages": "",
        "only_regions": "",
        "excluded_regions": "",
    },
}


def make_draft(session: Session, keys: KeyRing, project: Project, person: Person, **values: Any) -> ScenarioDraft:
    draft = ScenarioDraft(
        project_id=project.id, person_id=person.id, sealed=keys.seal("{}"), reached=6, created_at=NOW, updated_at=NOW
    )
    session.add(draft)
    session.flush()
    keep(keys, draft, TYPED | values, 6, NOW)
    return draft
