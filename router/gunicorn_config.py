"""gunicorn's settings; the supervisor names this file. Threads share a process, because requests wait for the database.

The master imports and makes the application, and its workers are forks that share this memory and start at once. What does not survive
a fork, threads and connections, belongs to the workers.
"""

import gc
import os
from contextlib import suppress
from typing import Any

from gunicorn.glogging import Logger
from prometheus_client import multiprocess

from router.attribution.tracking.crawlers import write_counts
from router.config import read_settings
from router.hanging import HangGuard
from router.operations import configure_logs
from router.supervisor import READY, SERVICE, WEB
from router.voice.following import routing_of

_settings = read_settings()
bind = f"{_settings.host}:{_settings.port}"
workers = _settings.web_workers
threads = _settings.web_threads
proc_name = os.environ.get(SERVICE, WEB)
worker_class = "router.gunicorn_worker.WholeRequestWorker"
preload_app = True
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


def when_ready(server: Any) -> None:
    """The application is made. What is there now stays: no search for garbage walks through it again, nor copies the memory that workers
    share by touching it. The listening sockets are the supervisor's, and the master takes none of their files away."""
    server.systemd = True
    gc.collect()
    gc.freeze()


def pre_fork(server: Any, worker: Any) -> None:
    """A connection to the database that two processes had would mix their answers up."""
    if application := server.app.wsgi().extensions.get(
        "router"
    ):  # the bench serves another application by these settings
        application.database.dispose()


def post_worker_init(worker: Any) -> None:
    """Routes are followed by a thread of each worker, and another one watches whether PostgreSQL answers. What is there now stays too, and
    then the supervisor is told."""
    if server := worker.wsgi.extensions.get("router"):
        routing_of(server).start(counts_calls=os.environ.get(SERVICE) != WEB)
        if not server.database.is_sqlite:
            HangGuard(server.database).start()
    gc.collect()
    gc.freeze()
    if READY in os.environ:
        with suppress(OSError):  # a supervisor who has died reads nothing more
            os.write(int(os.environ[READY]), b".")


def worker_exit(server: Any, worker: Any) -> None:
    """What a worker has counted in its memory is written before it ends, and its routes are followed no longer."""
    application = getattr(worker, "wsgi", None)  # there is none when it could not start
    if application and "router" in application.extensions:
        server = application.extensions["router"]
        routing_of(server).stop()
        write_counts(server)


def child_exit(server: Any, worker: Any) -> None:
    """A worker's gauges end with it; its counters stay."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # prometheus_client has no hints here
