"""Puts the rooms together; nothing else knows all of them."""

from datetime import timedelta
from pathlib import Path

import structlog
from flask import Blueprint, Flask, request

from router.accounts.api import accounts_api, api_description
from router.accounts.cookies import CookieSessions
from router.accounts.doors import doors
from router.accounts.failures import init_failures
from router.accounts.frame import init_frame
from router.accounts.people_api import people_api
from router.accounts.people_pages import people_settings
from router.accounts.profile import profile
from router.accounts.project_pages import projects
from router.accounts.settings_pages import settings
from router.accounts.tag_pages import tag_settings
from router.accounts.token_pages import token_settings
from router.attribution import hooks as tag_hooks
from router.attribution import pool
from router.attribution.amp import amp
from router.attribution.crawler_api import crawler_api
from router.attribution.never_shown import never_shown
from router.attribution.planner.api import plan_api
from router.attribution.planner.history import add_past_calls
from router.attribution.planner.views import plan_pages
from router.attribution.pool_size import small_pools
from router.attribution.regions import open_regions
from router.attribution.showing import shown_numbers
from router.attribution.tag_views import tag_files
from router.attribution.upkeep_api import upkeep_api
from router.attribution.upkeep_views import upkeep_pages
from router.carriers import carrier_of
from router.crypto import load_keys
from router.database import Database
from router.demo.site import site
from router.demo.telephone import telephone
from router.integrations import receivers
from router.integrations.api import deliveries_api
from router.integrations.scenario_part import IntegrationsPart
from router.integrations.views import deliveries
from router.logs import configure_logs
from router.operations import init_operations, operations
from router.reports.accuracy_api import accuracy_api
from router.reports.accuracy_page import accuracy_page
from router.reports.api import reports_api
from router.reports.install_page import add_install_section, install_page
from router.reports.leak_pages import leak_pages
from router.reports.leaks import leaking_scenarios
from router.reports.report_pages import reports
from router.reports.views import reports_pages
from router.scenarios import flows
from router.scenarios.actions_api import scenario_actions_api
from router.scenarios.api import scenarios_api
from router.scenarios.linting.lint import add_lint_rule
from router.scenarios.money.api import ledger_api
from router.scenarios.money.views import balance_pages
from router.scenarios.number_api import numbers_api
from router.scenarios.number_views import numbers_pages
from router.scenarios.old_settings.views import add_old_settings_section, old_settings_pages
from router.scenarios.parts import add_part
from router.scenarios.renting.buying_views import buying_pages
from router.scenarios.renting.grace import add_calls
from router.scenarios.renting.release import add_activity
from router.scenarios.views import scenarios_pages
from router.scenarios.wizard.connect_views import connect_pages
from router.scenarios.wizard.views import wizard_pages
from router.server import Server
from router.settings import Settings, read_settings
from router.voice import hooks as voice_hooks
from router.voice.call_log.views import add_call_log_section, call_log_pages
from router.voice.past_calls import calls_by_lease
from router.voice.recent import called_numbers
from router.web import BODY_LIMIT, IdConverter, Problem

PACKAGE = Path(__file__).parent

BLUEPRINTS: tuple[Blueprint, ...] = (
    doors,
    projects,
    profile,
    settings,
    people_settings,
    tag_settings,
    token_settings,
    accounts_api,
    people_api,
    api_description,
    tag_files,
    scenarios_pages,
    wizard_pages,
    connect_pages,
    numbers_pages,
    buying_pages,
    scenarios_api,
    old_settings_pages,
    call_log_pages,
    upkeep_pages,
    upkeep_api,
    crawler_api,
    plan_pages,
    plan_api,
    numbers_api,
    balance_pages,
    ledger_api,
    scenario_actions_api,
    deliveries,
    deliveries_api,
    tag_hooks.hooks,
    amp,
    voice_hooks.hooks,
    reports_pages,
    reports,
    leak_pages,
    install_page,
    reports_api,
    accuracy_page,
    accuracy_api,
    operations,
)
DEMO_BLUEPRINTS: tuple[Blueprint, ...] = (site, telephone)


def create_app(settings: Settings | None = None) -> Flask:
    """The web application. Without settings it reads the environment.

    Raises:
        SettingsError: a setting cannot be used.
    """
    if settings is None:
        settings = read_settings()
        configure_logs(settings.log_level)
    server = make_server(settings)
    carrier_of(server)
    app = Flask("router", template_folder=str(template_folder()), static_folder=str(PACKAGE / "static"))
    _configure(app, server)
    app.session_interface = CookieSessions()
    server.bind(app)
    app.url_map.converters["int"] = IdConverter
    app.before_request(_begin_request)
    init_operations(app, server)
    for blueprint in BLUEPRINTS + (DEMO_BLUEPRINTS if settings.demo else ()):
        app.register_blueprint(blueprint)
    init_frame(app)
    init_failures(app)
    return app


def create_demo_app() -> Flask:
    """The web application of `router demo`, which sets its environment; nothing else serves the demo's pages."""
    settings = read_settings().model_copy(update={"demo": True})
    configure_logs(settings.log_level)
    return create_app(settings)


def make_server(settings: Settings) -> Server:
    """What web processes, the worker and commands share, with every receiver connected."""
    pool_size = settings.web_threads + 2
    server = Server(settings, Database(settings.database, pool_size=pool_size), load_keys(settings))
    flows.connect()
    pool.connect()
    receivers.connect(server)
    add_part(server, IntegrationsPart(server))
    tag_hooks.make_limits(server)
    open_regions(server)
    add_install_section(server)
    add_old_settings_section(server)
    add_call_log_section(server)
    add_lint_rule(server, never_shown)
    add_lint_rule(server, small_pools)
    add_lint_rule(server, leaking_scenarios)
    add_activity(server, shown_numbers)
    add_calls(server, called_numbers)
    add_past_calls(server, calls_by_lease)
    carrier_of(server)
    return server


def template_folder() -> Path:
    """`templates/` beside the package in a checkout, inside it after `pip install`."""
    inside = PACKAGE / "templates"
    return inside if inside.is_dir() else PACKAGE.parent / "templates"


def _configure(app: Flask, server: Server) -> None:
    session_keys = [key.hex() for key in server.keys.derive("session")]
    app.config.update(
        SECRET_KEY=session_keys[0],
        SECRET_KEY_FALLBACKS=session_keys[1:],
        SESSION_COOKIE_NAME="router_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=server.settings.base_url.startswith("https://"),
        PERMANENT_SESSION_LIFETIME=timedelta(days=14),
        MAX_CONTENT_LENGTH=BODY_LIMIT,
        BOOTSTRAP_SERVE_LOCAL=True,
    )


def _begin_request() -> None:
    """Log lines of one request carry nothing of another. No address of ours holds a NUL, and PostgreSQL cannot even look for one."""
    structlog.contextvars.clear_contextvars()
    if "\0" in request.path or "%00" in request.query_string.decode("latin-1"):
        raise Problem(404, "There is nothing here.")
