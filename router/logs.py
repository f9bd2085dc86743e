"""Logs are JSON lines on standard error. Each line of a request carries its call's id; phone numbers are masked, secrets never appear."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.typing import Processor

from router.phones import masked

UNMASKED = ("timestamp", "level", "logger", "call", "path")


def configure_logs(level: str) -> None:
    """Sends structlog's and the standard library's lines the same way."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.format_exc_info,
        _mask,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in (
        "httpx",
        "alembic",
    ):  # the one names every address it asks with its query, the other each look at the schema
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _mask(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in line.items():
        if name not in UNMASKED and not name.startswith("_"):
            line[name] = _masked(value)
    return line


def _masked(value: Any) -> Any:
    """Text wherever it stands; whatever is neither a number nor a plain container is written as its text."""
    if isinstance(value, dict):
        return {_masked(key): _masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_masked(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else masked(str(value))
