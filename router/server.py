"""What every part of a running server shares: settings, database, keys, the carrier. One for each app, worker and command."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from router.config import Settings
from router.db import Database
from router.lib.crypto import KeyRing, load_keys

if TYPE_CHECKING:
    from router.attribution.planner.traffic import PastCalls
    from router.attribution.tracking.crawlers import CrawlerCounts, Crowds
    from router.attribution.tracking.projects import TagProject
    from router.attribution.tracking.visitors import Regions
    from router.carriers.base import Carrier, NumberShop
    from router.scenarios.billing.rent import NumbersCalled
    from router.scenarios.documents import ScenarioPart
    from router.scenarios.lint import LintRule
    from router.scenarios.numbers.release import NumbersShown
    from router.voice.asking import FlowLookups
    from router.voice.direct import DirectWriter
    from router.voice.first_answers import FirstAnswers
    from router.voice.following import RoutingFollower
    from router.voice.journal import RecordKeeper
    from router.web.network import RateLimit


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Server:
    settings: Settings
    database: Database
    keys: KeyRing
    now: Callable[[], datetime] = utc_now
    key_fits: bool = False
    """The database was made with our secret key: known once it has been asked."""

    scenario_parts: "list[ScenarioPart]" = field(default_factory=list)
    """What packages above add; app.py fills this, and what follows."""
    lint_rules: "list[LintRule]" = field(default_factory=list)
    numbers_called: "NumbersCalled | None" = None
    numbers_shown: "NumbersShown | None" = None
    past_calls: "PastCalls | None" = None
    keep_refused: "Callable[[Server, Mapping[str, Any]], None] | None" = None
    """Keeps a heartbeat that the database refused. Never raises."""

    carrier: "Carrier | None" = None
    """Made when it is first asked for, as the shop and the routing."""
    shop: "NumberShop | None" = None
    shops: "dict[tuple[str, str], NumberShop]" = field(default_factory=dict)
    """At the accounts of projects, by SID and auth token."""
    simulator_url: str = ""
    """Of the simulated carrier in this process; empty: it is elsewhere, or not needed yet."""
    routing: "RoutingFollower | None" = None
    journal: "RecordKeeper | None" = None
    direct: "DirectWriter | None" = None
    flow_lookups: "FlowLookups | None" = None
    first_answers: "FirstAnswers | None" = None

    heartbeat_rate: "RateLimit" = field(init=False)
    visit_rate: "RateLimit" = field(init=False)
    refused_origin_rate: "RateLimit" = field(init=False)
    crowds: "Crowds" = field(init=False)
    crawler_counts: "CrawlerCounts" = field(init=False)
    regions: "Regions | None" = None
    tag_projects: "dict[str, TagProject]" = field(default_factory=dict)
    """By their keys, as this process has seen them last: what it knows of them while the database is away."""


TELEPHONE_CONNECTIONS = 8
"""Look-ups of a telephone process in the database, at once."""


def bare_server(settings: Settings, database: Database | None = None) -> Server:
    """A server with nothing registered at it: `router.app` connects what other floors have to add."""
    if database is None:
        connections = max(settings.web_threads, TELEPHONE_CONNECTIONS) + 2
        database = Database(settings.database, connections, prepared_statements=settings.prepared_statements)
    return Server(settings, database, load_keys(settings))


def current_server() -> Server:
    """The server of the app that handles this request."""
    from flask import current_app  # commands without a request do not load it

    return cast(Server, current_app.extensions["router"])
