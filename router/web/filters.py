"""Filters of the pages: how values look in HTML. A missing value is a dash that says why."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from flask import Flask, g
from markupsafe import Markup

from router.lib.formats import (
    format_change,
    format_count,
    format_day,
    format_duration,
    format_exact_moment,
    format_moment,
    format_money,
    format_percent,
    named_countries,
)
from router.lib.phones import international, national
from router.server import current_server


def init_filters(app: Flask) -> None:
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(
        moment=moment,
        clock=clock,
        day=day,
        duration=duration,
        phone=phone,
        money=money,
        change=change,
        count=format_count,
        percent=percent,
        named_countries=named_countries,
    )
    app.jinja_env.globals.update(dash=dash)


def page_zone() -> str:
    project = g.get("project")
    return project.timezone if project else "UTC"


def dash(reason: str) -> Markup:
    return Markup('<span class="missing" title="{0}">–<span class="visually-hidden"> ({0})</span></span>').format(
        reason
    )


def moment(value: datetime | None, missing: str = "not yet") -> Markup:
    """`today 14:32`, exact on hover."""
    if value is None:
        return dash(missing)
    return _time(value, format_moment(value, page_zone(), current_server().now()))


def day(value: datetime | None, missing: str = "not yet") -> Markup:
    """`3 Nov 2026`, exact on hover."""
    if value is None:
        return dash(missing)
    return _time(value, format_day(value, page_zone()))


def clock(value: datetime) -> Markup:
    """`16:28:05`, exact on hover: within a call, seconds count."""
    return _time(value, f"{value.astimezone(ZoneInfo(page_zone())):%H:%M:%S}")


def _time(value: datetime, said: str) -> Markup:
    exactly = format_exact_moment(value, page_zone())
    return Markup('<time datetime="{}" title="{}">{}</time>').format(value.isoformat(), exactly, said)


def duration(seconds: float | None, missing: str = "not known") -> Markup | str:
    return (
        dash(missing) if seconds is None else Markup('<span class="nowrap">{}</span>').format(format_duration(seconds))
    )


def phone(number: str | None, missing: str = "the number was withheld") -> Markup:
    """International, national on hover, never broken over lines; a SIP address stays as it is."""
    if not number:
        return dash(missing)
    said, at_home = international(number), national(number)
    return Markup('<span class="phone" title="{}">{}</span>').format(at_home, said)


def money(minor: int | None, currency: str = "", missing: str = "no price") -> Markup | str:
    """In the project's currency unless another one is named."""
    if minor is None:
        return dash(missing)
    named = currency or (g.project.currency if g.get("project") else "")
    return Markup('<span class="nowrap">{}</span>').format(format_money(minor, named))


def change(minor: int) -> Markup:
    currency = g.project.currency if g.get("project") else ""
    return Markup('<span class="nowrap">{}</span>').format(format_change(minor, currency))


def percent(share: float | None, missing: str = "not known yet") -> Markup | str:
    return dash(missing) if share is None else format_percent(share)


def values_of(form: Any) -> dict[str, str]:
    """A submitted form without what no database stores."""
    return {name: value.replace("\0", "") for name, value in form.items() if name != "csrf_token"}
