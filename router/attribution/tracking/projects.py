"""What the tag's endpoints know of a project: its enabled scenarios, or its free numbers as one pool (R13). One statement."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import and_, bindparam, case, exists, false, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import PoolNumber
from router.attribution.pool.choice import SHARE, Curve
from router.attribution.pool.leases import PoolRules, Prefixes
from router.attribution.pool.membership import free_pool
from router.db import table_of
from router.scenarios.models import Scenario
from router.statements import Statement

FREE_AIM, FREE_HOLD = "visit", timedelta(seconds=150)
"""The rules of a pool that has no scenario to say them."""


@dataclass(frozen=True, slots=True)
class TagScenario:
    """An enabled scenario as the tag's endpoints need it; with the id of a pool of free numbers it stands for that pool."""

    id: int
    aim: str
    hold_seconds: int
    tagging: Mapping[str, Any]
    terms: Mapping[str, Any] = field(default_factory=dict)
    channels: Sequence[Mapping[str, Any]] = ()
    exhausted: str = SHARE
    survival: Curve | None = None
    """P(still calls | idle) as it was learned (R6)."""
    in_turn: bool = False

    @property
    def is_free_pool(self) -> bool:
        return self.id < 0

    def rules_for(self, prefixes: Prefixes) -> PoolRules:
        return PoolRules(self.id, self.aim, self.hold, self.in_turn, prefixes, self.exhausted == SHARE, self.survival)

    @property
    def hold(self) -> timedelta:
        return timedelta(seconds=self.hold_seconds)


@dataclass(frozen=True, slots=True)
class TagProject:
    """A project as the tag's endpoints need it, with its enabled scenarios in ascending id: none while it is suspended. One without any
    scenario lends its free numbers instead."""

    id: int
    key: str
    site: list[str]
    country: str
    gap: timedelta
    source_days: int
    """For how many days a visit that comes back directly keeps its last known source."""
    suspended: bool
    scenarios: list[TagScenario]
    consent: str = "full"
    """What may be known of a visitor before he has chosen: none, limited, or full."""
    gpc_refuses: bool = False
    tag_address: str = ""
    """Where the site itself serves the tag; empty: this server does."""
    staff: tuple[str, ...] = ()
    """Addresses and networks whose visitors keep the page's number."""
    unwanted: tuple[str, ...] = ()
    """Hosts and patterns of hosts (`*.example.com`) that are no source, whoever comes from there."""
    ignore_automation: bool = False
    """Browsers that a program drives count as crawlers."""

    def only(self, wanted: Iterable[int] | None) -> list[TagScenario]:
        """The scenarios that a page limits itself to; all when it says nothing."""
        return self.scenarios if wanted is None else [one for one in self.scenarios if one.id in set(wanted)]


@dataclass(frozen=True, slots=True)
class GivenNumber:
    """A number that a page shall show; one of the free numbers in the classes with these suffixes."""

    scenario: TagScenario
    e164: str
    suffixes: Sequence[str] = ()


_project, _scenario, _pool = table_of(Project).c, table_of(Scenario).c, table_of(PoolNumber).c
_HAS_FREE_POOL = case(
    (_scenario.id.is_(None), exists(select(_pool.number_id).where(_pool.scenario_id == free_pool(_project.id)))),
    else_=false(),
)
_TAG_PROJECT = Statement(
    lambda _: (
        select(
            *(_project[name] for name in ("id", "site", "country", "visit_gap_seconds", "source_days", "suspended_at")),
            _HAS_FREE_POOL.label("has_free_pool"),
            _scenario.id.label("scenario_id"),
            *(
                _scenario[name]
                for name in ("aim", "hold_seconds", "tagging", "terms", "channels", "exhausted", "survival")
            ),
            *(_project[name] for name in ("consent", "gpc_refuses", "tag_address", "staff_addresses")),
            *(_project[name] for name in ("unwanted_referrals", "ignore_automation")),
        )
        .join_from(
            table_of(Project),
            table_of(Scenario),
            and_(_scenario.project_id == _project.id, _scenario.enabled, _scenario.deleted_at.is_(None)),
            isouter=True,
        )
        .where(_project.key == bindparam("tag_key"))
        .order_by(_scenario.id)
    )
)


def find_tag_project(session: Session, key: str) -> TagProject | None:
    """The project with this public key, in one statement."""
    rows = _TAG_PROJECT.all(session, {"tag_key": key[:32]})
    if not rows:
        return None
    project = rows[0]
    if project.suspended_at is not None:
        scenarios = []
    elif project.has_free_pool:
        scenarios = [TagScenario(free_pool(project.id), FREE_AIM, int(FREE_HOLD.total_seconds()), {})]
    else:
        scenarios = [
            TagScenario(
                id=row.scenario_id,
                aim=row.aim,
                hold_seconds=row.hold_seconds,
                tagging=row.tagging,
                terms=row.terms,
                channels=row.channels,
                exhausted=row.exhausted,
                survival=row.survival,
            )
            for row in rows
            if row.scenario_id is not None
        ]
    return TagProject(
        id=project.id,
        key=key[:32],
        site=project.site,
        country=project.country,
        gap=timedelta(seconds=project.visit_gap_seconds),
        source_days=project.source_days,
        suspended=project.suspended_at is not None,
        scenarios=scenarios,
        consent=project.consent,
        gpc_refuses=bool(project.gpc_refuses),
        tag_address=project.tag_address,
        staff=tuple(project.staff_addresses),
        unwanted=tuple(project.unwanted_referrals),
        ignore_automation=bool(project.ignore_automation),
    )
