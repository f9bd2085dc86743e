"""Processes of the server that are killed while calls come in."""

import os
import signal
import socket
import time
from collections.abc import Callable

from faults.fault import SECONDS_OF_KILLED, Fault
from faults.site import Site

KILLS = 50
PAUSE = 1.0
LONGEST = 150.0
"""A process that dies again and again is started after a growing pause: what is reached of the kills in this time counts."""
SETTLED_AFTER = 75.0
"""A message that was being sent when its worker died is sent again after 60 s."""


def killing(find: Callable[[Site], int | None], kills: int = KILLS) -> Callable[[Site], None]:
    """Kills a process once a second, or as soon as it is there again."""

    def strike(site: Site) -> None:
        killed, until = 0, time.monotonic() + LONGEST
        while killed < kills and time.monotonic() < until:
            pid = find(site)
            if pid:
                os.kill(pid, signal.SIGKILL)
                killed += 1
            time.sleep(PAUSE)
        site.remark = f", {killed} times"

    return strike


def a_worker_of(service: str) -> Callable[[Site], int | None]:
    """A process that answers requests; at every tenth time the one that started it."""
    times = iter(range(10**6))

    def find(site: Site) -> int | None:
        if next(times) % 10 == 9:
            return site.server.children().get(service)
        return next(iter(site.server.workers(service)), None)

    return find


def the_child(name: str) -> Callable[[Site], int | None]:
    return lambda site: site.server.children().get(name)


def listen_as_systemd(site: Site) -> None:
    site.activated = site.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))


def kill_all(site: Site) -> None:
    """Supervisor, telephone, web and applier at once; an operator's systemd starts the server again."""
    began = time.monotonic()
    for pid in site.server.members():
        os.kill(pid, signal.SIGKILL)
    site.server.process.wait(10)
    site.server.start()
    site.server.wait_until_healthy()
    site.remark = f", back after {time.monotonic() - began:.0f} s"
    time.sleep(PAUSE)


FAULTS = (
    Fault(
        "telephone",
        "a telephone process killed",
        killing(a_worker_of("telephone")),
        adds_numbers=True,
        promise=SECONDS_OF_KILLED,
    ),
    Fault(
        "web",
        "a web process killed",
        killing(a_worker_of("web")),
        adds_numbers=True,
        promise=SECONDS_OF_KILLED,
    ),
    Fault(
        "applier",
        "the applier killed",
        killing(the_child("applier")),
        adds_numbers=True,
        promise=SECONDS_OF_KILLED,
    ),
    Fault(
        "worker",
        "the worker killed",
        killing(Site.worker_process),
        adds_numbers=True,
        promise=SECONDS_OF_KILLED,
        settled_after=SETTLED_AFTER,
    ),
    Fault("all", "all processes killed at once, systemd holds the socket", kill_all, listen_as_systemd, promise=None),
    Fault("all-unheld", "all processes killed at once, nobody holds the socket", kill_all, promise=None),
)
