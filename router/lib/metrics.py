"""Figures for /metrics."""

from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


def record(*updates: Callable[[], object]) -> None:
    """Updates counters. Several processes share them in files; a file that cannot be written (a full disk) costs nobody the answer."""
    for update in updates:
        try:
            update()
        except Exception:
            log.exception("metric_not_recorded")
