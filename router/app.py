"""Puts the rooms together; nothing else knows all of them."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from flask import Blueprint, Flask, request

from router.accounts.api import accounts_api, api_description, people_api
from router.accounts.sessions import CookieSessions
from router.accounts.views.members import people_settings, token_settings
from router.accounts.views.projects import projects, settings, tag_settings
from router.accounts.views.sign_in import profile, sign_in_pages
from router.attribution.planner.views import plan_api, plan_pages
from router.attribution.pool.numbers import connect_pool
from router.attribution.pool.unplaced import shown_numbers
from router.attribution.tag import tag_files
from router.attribution.tracking.crawlers import crawler_api
from router.attribution.tracking.hooks import hooks, make_limits
from router.attribution.tracking.visitors import open_regions
from router.attribution.upkeep.views import upkeep_api, upkeep_pages
from router.carriers import carrier_of
from router.carriers.account_views import account_api, account_pages
from router.carriers.twilio.round_trip import connect_round_trip
from router.config import Settings, read_settings
from router.db import Database
from router.integrations.conversions.files import conversion_files
from router.integrations.crm.accounts import leads_of_nobody
from router.integrations.crm.views import crm_api
from router.integrations.forgetting import connect_forgetting
from router.integrations.missed.service import connect_missed
from router.integrations.outbox import connect_receivers
from router.integrations.settings import IntegrationsPart
from router.integrations.text_messages import message_pages, messages_api
from router.integrations.trials import receivers_api
from router.integrations.views import deliveries, deliveries_api
from router.operations import configure_logs, init_operations, key_fits, operations
from router.reports.accuracy.views import accuracy_api, accuracy_page
from router.reports.api import reports_api
from router.reports.leaks import leaking_scenarios
from router.reports.recordings import recording_api, recording_pages
from router.reports.views import install_page, leak_pages, reports, reports_pages
from router.scenarios import flows
from router.scenarios.api import scenario_actions_api, scenarios_api
from router.scenarios.billing.views import balance_pages, ledger_api
from router.scenarios.holiday_views import holiday_pages, holidays_api
from router.scenarios.importing.views import old_settings_pages
from router.scenarios.numbers.api import numbers_api
from router.scenarios.numbers.compliance_views import compliance_api, compliance_pages
from router.scenarios.numbers.views import buying_pages, numbers_pages
from router.scenarios.views import scenarios_pages
from router.scenarios.wizard.views import connect_pages, wizard_pages
from router.server import Server, bare_server
from router.voice import hooks as voice_hooks
from router.voice.applier import keep_refused
from router.voice.blocking.views import blocked_api, blocked_pages
from router.voice.flow_play_views import play_pages
from router.voice.importing.views import call_log_pages
from router.voice.routing import called_numbers, calls_by_lease
from router.voice.sound_views import sound_files, sound_pages, sounds_api
from router.web.errors import BODY_LIMIT, IdConverter, Problem
from router.web.layout import init_error_pages, init_layout

PACKAGE = Path(__file__).parent

BLUEPRINTS: tuple[Blueprint, ...] = (
    sign_in_pages,
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
    play_pages,
    connect_pages,
    numbers_pages,
    buying_pages,
    compliance_pages,
    compliance_api,
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
    receivers_api,
    conversion_files,
    hooks,
    voice_hooks.hooks,
    account_pages,
    account_api,
    holiday_pages,
    holidays_api,
    sound_files,
    sound_pages,
    sounds_api,
    message_pages,
    messages_api,
    blocked_pages,
    blocked_api,
    crm_api,
    reports_pages,
    recording_pages,
    recording_api,
    reports,
    leak_pages,
    install_page,
    reports_api,
    accuracy_page,
    accuracy_api,
    operations,
)


class Application(Flask):
    """Without Flask's look at each view and hook of each request for coroutines: there are none."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func


def create_app(settings: Settings | None = None) -> Flask:
    """The web application. Without settings it reads the environment.

    Raises:
        SettingsError: a setting cannot be used.
    """
    if settings is None:
        settings = read_settings()
        configure_logs(settings.log_level)
    app = Application("router", template_folder=str(template_folder()), static_folder=str(PACKAGE / "static"))
    serve(app, make_server(settings))
    app.session_interface = CookieSessions()
    app.url_map.converters["int"] = IdConverter

    @app.before_request
    def begin_request() -> None:
        """Log lines of one request carry nothing of another. No address of ours holds a NUL, and PostgreSQL cannot even look for one."""
        structlog.contextvars.clear_contextvars()
        if "\0" in request.path or b"%00" in request.query_string:
            raise Problem(404, "There is nothing here.")

    init_operations(app)
    connect_round_trip(app)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    if settings.demo:
        from router.demo.site import site, telephone

        app.register_blueprint(site)
        app.register_blueprint(telephone)
    init_layout(app)
    init_error_pages(app)
    return app


def create_demo_app() -> Flask:
    """The web application of `router demo`, which sets its environment; nothing else serves the demo's pages."""
    settings = read_settings().model_copy(update={"demo": True})
    configure_logs(settings.log_level)
    return create_app(settings)


def make_server(settings: Settings, database: Database | None = None) -> Server:
    """What web processes, the worker and commands share, with every receiver connected; `database` where it is open already."""
    server = bare_server(settings, database)
    flows.connect()
    connect_pool()
    connect_receivers()
    connect_forgetting()
    connect_missed()
    server.scenario_parts.append(IntegrationsPart(server))
    make_limits(server)
    open_regions(server)
    server.lint_rules.append(leaking_scenarios)
    server.lint_rules.append(leads_of_nobody)
    server.numbers_shown = shown_numbers
    server.numbers_called = called_numbers
    server.past_calls = calls_by_lease
    server.keep_refused = keep_refused
    carrier_of(server)
    return server


def template_folder() -> Path:
    """`templates/` beside the package in a checkout, inside it after `pip install`."""
    inside = PACKAGE / "templates"
    return inside if inside.is_dir() else PACKAGE.parent / "templates"


def serve(app: Flask, server: Server) -> None:
    """The application serves this server, with its keys and its address, from now on."""
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
    app.extensions["router"] = server
    key_fits(server)
