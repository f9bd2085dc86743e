"""What may stand between the server and PostgreSQL: Debian's PgBouncer in transaction mode, and a replica that takes over."""

import os
import signal
import subprocess
import time

from faults.debian import program
from faults.fault import Fault
from faults.site import Site
from tests.faults.running import free_port

PACKAGE = "pgbouncer"
AWAY_SECONDS = 3.0
LAG_SECONDS = 3.0


class PgBouncer:
    """A pooler in front of a site's cluster. It refuses to run as root, and runs as the cluster's user then."""

    def __init__(self, site: Site) -> None:
        self.port = free_port()
        self._program, self._environ = program(PACKAGE, "usr/sbin/pgbouncer", site.folder / PACKAGE)
        self._user = site.primary.user
        self._settings = site.folder / "pgbouncer.ini"
        self._settings.write_text(
            f"[databases]\npostgres = host=127.0.0.1 port={site.primary.port} user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = any\n"
            "pool_mode = transaction\ndefault_pool_size = 10\nmax_client_conn = 200\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [self._program, "-q", self._settings], env=os.environ | self._environ, user=self._user
        )

    def kill(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


def put_pgbouncer_between(site: Site) -> None:
    site.pooler = PgBouncer(site)
    site.pooler.start()
    site.stack.callback(site.pooler.kill)
    site.server_url = f"postgresql://postgres@127.0.0.1:{site.pooler.port}/postgres"


def restart_pgbouncer(site: Site) -> None:
    for _ in range(3):
        site.pooler.kill()
        time.sleep(AWAY_SECONDS)
        site.pooler.start()
        time.sleep(AWAY_SECONDS)


def add_replica(site: Site) -> None:
    site.replica = site.primary.copy(site.folder / "replica")
    site.replica.start()
    ports = [site.primary.port, site.replica.port]
    site.server_url = f"postgresql://postgres@{','.join(f'127.0.0.1:{port}' for port in ports)}/postgres"


def lose_primary(site: Site) -> None:
    site.primary.kill()
    time.sleep(AWAY_SECONDS)
    site.replica.promote()
    site.cluster = site.replica
    site.open_database(site.replica.url)
    time.sleep(AWAY_SECONDS)


def lose_primary_behind_a_lagging_replica(site: Site) -> None:
    """What the primary took in its last seconds is lost."""
    for process in site.primary.processes():
        if "walsender" in " ".join(process.cmdline()):
            process.send_signal(signal.SIGSTOP)
    time.sleep(LAG_SECONDS)
    lose_primary(site)


FAULTS = (
    Fault(
        "pgbouncer",
        "behind PgBouncer in transaction mode, which is killed three times",
        restart_pgbouncer,
        put_pgbouncer_between,
    ),
    Fault("failover", "the primary lost, its replica promoted", lose_primary, add_replica),
    Fault(
        "failover-lag",
        "the same, the replica 3 s behind",
        lose_primary_behind_a_lagging_replica,
        add_replica,
    ),
)
