"""What the tag's endpoints know of a project: its enabled scenarios, or its free numbers as one pool (R13). One statement."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import and_, bindparam, case, exists, false, select
from sqlalchemy.orm import Session

from router.accounts.models import Project
from router.attribution.models import PoolNumber, free_pool_id
from router.attribution.pool.choice import Pool
from router.db import table_of
from router.scenarios.models import DEFAULT_HOLD_SECONDS, Scenario
from router.statements import Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class TagScenario(Pool):
    """An enabled scenario as the tag's endpoints need it."""

    tagging: Mapping[str, Any]
    terms: Mapping[str, Any] = field(default_factory=dict)
    channels: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class TagProject:
    """A project as the tag's endpoints need it, with its enabled scenarios in ascending id: none while it is suspended."""

    id: int
    key: str
    site: list[str]
    country: str
    gap: timedelta
    source_days: int
    """For how many days a visit that comes back directly keeps its last known source."""
    suspended: bool
    scenarios: list[TagScenario]
    free_pool: Pool | None = None
    """Of the free numbers, which a project without any scenario leases instead."""
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

    @property
    def pools(self) -> dict[int, Pool]:
        """All of them by id."""
        return {pool.id: pool for pool in (*self.scenarios, *((self.free_pool,) if self.free_pool else ()))}

    def only(self, scenario_ids: Iterable[int] | None) -> list[TagScenario]:
        """The scenarios that a page limits itself to; all when it says nothing."""
        if scenario_ids is None:
            return self.scenarios
        ids = set(scenario_ids)
        return [scenario for scenario in self.scenarios if scenario.id in ids]


_project, _scenario, _pool = table_of(Project).c, table_of(Scenario).c, table_of(PoolNumber).c
_HAS_FREE_POOL = case(
    (_scenario.id.is_(None), exists(select(_pool.number_id).where(_pool.scenario_id == free_pool_id(_project.id)))),
    else_=false(),
)
PROJECT_COLUMNS = ("id", "site", "country", "source_days", "consent", "gpc_refuses", "tag_address", "ignore_automation")
SCENARIO_COLUMNS = ("aim", "hold_seconds", "tagging", "terms", "channels", "exhausted", "survival")
_TAG_PROJECT = Statement(
    select(
        *(_project[name] for name in PROJECT_COLUMNS),
        *(_project[name] for name in ("visit_gap_seconds", "suspended_at", "staff_addresses", "unwanted_referrals")),
        _HAS_FREE_POOL.label("has_free_pool"),
        _scenario.id.label("scenario_id"),
        *(_scenario[name] for name in SCENARIO_COLUMNS),
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


def find_tag_project(session: Session, key: str) -> TagProject | None:
    """The project with this public key, in one statement."""
    rows = _TAG_PROJECT.all(session, {"tag_key": key[:32]})
    if not rows:
        return None
    project = rows[0]
    suspended = project.suspended_at is not None
    scenarios = [
        TagScenario(id=row.scenario_id, **{name: getattr(row, name) for name in SCENARIO_COLUMNS})
        for row in rows
        if row.scenario_id is not None and not suspended
    ]
    free_pool = None
    if project.has_free_pool and not suspended:
        free_pool = Pool(id=free_pool_id(project.id), aim="visit", hold_seconds=DEFAULT_HOLD_SECONDS)
    return TagProject(
        **{name: getattr(project, name) for name in PROJECT_COLUMNS},
        key=key[:32],
        gap=timedelta(seconds=project.visit_gap_seconds),
        suspended=suspended,
        scenarios=scenarios,
        free_pool=free_pool,
        staff=tuple(project.staff_addresses),
        unwanted=tuple(project.unwanted_referrals),
    )
