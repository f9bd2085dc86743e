"""gunicorn's settings; the supervisor names this file. Threads share a process, because requests wait for the database."""

import gc
import os
from typing import Any

from gunicorn.glogging import Logger
from gunicorn.workers import gthread
from prometheus_client import multiprocess

from router.attribution.tracking.crawlers import write_counts
from router.config import read_settings
from router.operations import configure_logs
from router.voice.snapshot import routing_of

# Browsers open connections ahead of time and say nothing on them: such a one holds a thread for this long, not for 5 s.
gthread.DEFAULT_WORKER_DATA_TIMEOUT = 0.2

_settings = read_settings()
bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_workers
threads = _settings.web_threads
worker_class = "gthread"
timeout = 30
graceful_timeout = 20
keepalive = 5
control_socket_disable = True
forwarded_allow_ips = ""  # ROUTER_TRUSTED_PROXIES decides, in the application
header_map = "drop"  # X_Forwarded_For would count as another X-Forwarded-For, after what the proxy says
accesslog = None
limit_request_line = (
    8190  # a carrier that asks by GET puts all it knows of a call into the address, with tokens of a kilobyte
)
loglevel = _settings.log_level


class JsonLogger(Logger):  # type: ignore[misc]  # gunicorn has no type hints
    """gunicorn's own lines go the way of all others."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        configure_logs(_settings.log_level)
        self.error_log.handlers[:] = []
        self.error_log.propagate = True


logger_class = JsonLogger


def post_fork(server: Any, worker: Any) -> None:
    """A worker imports the application next, and all that imports make stays: no search for garbage meanwhile."""
    gc.disable()


def post_worker_init(worker: Any) -> None:
    """What is there from the start stays: the garbage collector need not walk through it again and again between requests. Routes are
    followed by a thread of each worker, which a fork before this would not have taken along."""
    if server := worker.wsgi.extensions.get("router"):  # the bench serves another application by these settings
        routing_of(server).start()
    gc.collect()
    gc.freeze()
    gc.enable()


def worker_exit(server: Any, worker: Any) -> None:
    """What a worker has counted in its memory is written before it ends."""
    application = getattr(worker, "wsgi", None)  # there is none when it could not start
    if application and "router" in application.extensions:
        write_counts(application.extensions["router"])


def child_exit(server: Any, worker: Any) -> None:
    """A worker's gauges end with it; its counters stay."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # prometheus_client has no hints here
