"""The example company's project with its scenarios, numbers and receivers, and the file that says where the demo's processes listen."""

import base64
import json
import secrets
import socket
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from sqlalchemy import select
from sqlalchemy.orm import Session

from router.accounts.members import create_person, set_role
from router.accounts.models import Project
from router.accounts.projects import ProjectValues, create_project
from router.attribution.pool.numbers import follow_numbers
from router.attribution.tracking.sources import Source, named_source
from router.demo import shop
from router.integrations.models import Integration
from router.integrations.vendors import VENDORS
from router.lib.crypto import KeyRing
from router.lib.phones import international, national
from router.scenarios.channels import with_static
from router.scenarios.models import CallFlow, Scenario, TrackingNumber

FILE = "simulator.json"
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Places:
    """`key` opens the exchange's telephone; `crm_key` and `webhook_secret` are what the example company's receivers expect."""

    port: int
    key: str
    crm_key: str
    webhook_secret: str

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}"


def read_places(data_dir: Path) -> Places | None:
    try:
        return Places(**json.loads((data_dir / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def choose_places(data_dir: Path) -> Places:
    """The places of the last time, on another port when that one is taken meanwhile; made at first."""
    known = read_places(data_dir)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, known.port if known else 0))
        except OSError:
            probe.bind((HOST, 0))
        port = int(probe.getsockname()[1])
    places = Places(
        port,
        known.key if known else secrets.token_hex(16),
        known.crm_key if known else secrets.token_hex(20),
        known.webhook_secret if known else "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode(),
    )
    path = data_dir / FILE
    path.touch(0o600)
    path.write_text(json.dumps(asdict(places)))
    return places


FLOW = {
    "destinations": [
        {"to": shop.COUNTER, "ring_seconds": shop.RING_SECONDS},
        {"to": shop.WORKSHOP, "ring_seconds": shop.RING_SECONDS},
    ]
}
TAGGING = {"selectors": [], "replace": [national(shop.COUNTER), international(shop.COUNTER)], "format": ""}
CRM_DATABASE = "alder"
STATIC = {
    shop.BILLBOARD: {"source": "billboard", "medium": "offline", "campaign": "bay-bridge"},
    shop.FLYER: {"source": "flyer", "medium": "print", "campaign": "spring"},
}


@dataclass(frozen=True)
class Room:
    """A scenario with its numbers and integrations."""

    id: int
    numbers: dict[str, TrackingNumber]
    integrations: dict[str, Integration]


@dataclass(frozen=True)
class Company:
    project: Project
    web: Room
    print: Room


def found_company(
    session: Session, keys: KeyRing, places: Places, site: list[str], password_hash: str, now: datetime
) -> Company:
    """Makes everything that an admin would have typed in."""
    values = ProjectValues(
        name=shop.NAME,
        site=site,
        country=shop.COUNTRY,
        timezone=machine_timezone(),
        currency=shop.CURRENCY,
        email=shop.EMAIL,
        fallback_destination=shop.COUNTER,
    )
    project = create_project(session, values, now)
    owner = create_person(session, shop.EMAIL, password_hash, now, shop.OWNER)
    set_role(session, project.id, owner.id, "owner")
    slots = _slots(places)
    web = _room(session, keys, project, "Web site", dict.fromkeys(shop.POOL), TAGGING, slots, now)
    few = {slot: value for slot, value in slots.items() if slot in ("webhook_end", "crm")}
    untagged = {"selectors": [], "replace": [], "format": ""}  # numbers on paper replace nothing on a page
    printed = _room(session, keys, project, "Billboard and flyer", dict(STATIC), untagged, few, now)
    return Company(project, web, printed)


def machine_timezone() -> str:
    """This machine's time zone, so that the demo's times are those on the wall."""
    zone = "/".join(Path("/etc/localtime").resolve().parts).partition("zoneinfo/")[2]
    return zone if zone in available_timezones() else "UTC"


def static_source(e164: str) -> Source:
    return named_source(**STATIC[e164])


def point_integrations(session: Session, places: Places) -> None:
    """After a restart the receivers may listen on another port."""
    slots = _slots(places)
    for integration in session.scalars(select(Integration)):
        _, config, _ = slots[integration.slot]
        integration.config = integration.config | config
        integration.receiver = _receiver(integration.kind, integration.project_id, integration.config)


def _slots(places: Places) -> dict[str, tuple[str, dict[str, Any], str]]:
    """Each slot's kind, configuration and secret."""
    webhook = {"url": f"{places.address}/demo/inbox/webhook"}
    collect = f"{places.address}/demo/inbox/mp/collect"
    return {
        "webhook_start": ("webhook", webhook, places.webhook_secret),
        "webhook_end": ("webhook", webhook, places.webhook_secret),
        "ga4": ("ga4", {"measurement_id": "G-DEMO000001", "endpoint": collect, "event": "Call"}, places.key),
        "crm": (
            "odoo",
            {"url": places.address, "database": CRM_DATABASE, "manager": "admin", "fields": {}},
            places.crm_key,
        ),
    }


def _receiver(kind: str, project_id: int, config: dict[str, Any]) -> str:
    """As the form of a scenario would name the receiver: an edit then keeps the stored secret."""
    return VENDORS[kind].receiver(project_id, VENDORS[kind].settings.model_validate(config))


def _room(
    session: Session,
    keys: KeyRing,
    project: Project,
    title: str,
    numbers: dict[str, dict[str, Any] | None],
    tagging: dict[str, Any],
    slots: dict[str, tuple[str, dict[str, Any], str]],
    now: datetime,
) -> Room:
    static = {e164: source for e164, source in numbers.items() if source}
    scenario = Scenario(project_id=project.id, title=title, enabled=True, tagging=tagging, created_at=now)
    scenario.channels = with_static([], static)
    session.add(scenario)
    session.flush()
    flow = CallFlow(scenario_id=scenario.id, number=1, document=FLOW, created_at=now)
    session.add(flow)
    session.flush()
    scenario.call_flow_id = flow.id
    rented = {
        e164: TrackingNumber(
            project_id=project.id,
            e164=e164,
            scenario_id=scenario.id,
            static_source=source,
            last_flow_id=flow.id,
            created_at=now,
        )
        for e164, source in numbers.items()
    }
    integrations = {
        slot: Integration(
            project_id=project.id,
            scenario_id=scenario.id,
            slot=slot,
            kind=kind,
            receiver=_receiver(kind, project.id, config),
            config=config,
            sealed=keys.seal(secret),
            created_at=now,
        )
        for slot, (kind, config, secret) in slots.items()
    }
    session.add_all([*rented.values(), *integrations.values()])
    session.flush()
    follow_numbers(session, [number.id for number in rented.values()])
    return Room(scenario.id, rented, integrations)
