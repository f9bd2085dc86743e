"""Who writes deliveries wakes the workers of the same machine once they are committed; a worker elsewhere finds them at its next look.

Each worker has a socket in a folder beside the database's data. Nothing is said by it, and nothing is lost when it is not heard."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from sqlalchemy import event
from sqlalchemy.orm import Session

from router.config import Settings

MARK = "wakes_workers"

log = structlog.get_logger(__name__)


def folder_of(settings: Settings) -> Path:
    return settings.data_dir / "wake"


def wake_after_commit(session: Session, settings: Settings) -> None:
    """Wakes the workers once the session has committed what it has written; again for the same session it does nothing more."""
    if MARK not in session.info:
        session.info[MARK] = True
        event.listen(session, "after_commit", lambda _: wake(folder_of(settings)), once=True)


def wake(folder: Path) -> None:
    """Never raises, never waits: a worker that is being woken already hears nothing twice."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                try:
                    sender.sendto(b"1", entry.path)
                except ConnectionRefusedError:  # its worker was killed
                    with suppress(OSError):
                        os.unlink(entry.path)
                except OSError:
                    continue


@contextmanager
def woken(folder: Path, act: Callable[[], None]) -> Iterator[None]:
    """Calls `act`, in a thread of its own, whenever somebody wakes this process. Where no socket can be made, nobody does."""
    path = folder / f"worker-{os.getpid()}-{threading.get_ident()}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        listener.bind(str(path))
    except OSError as error:
        log.warning("workers cannot be woken here", why=error.strerror)
        listener.close()
        yield
        return
    ended = threading.Event()

    def listen() -> None:
        while listener.recv(16) and not ended.is_set():
            act()

    thread = threading.Thread(target=listen, name="woken", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        with suppress(OSError):
            listener.sendto(b"0", str(path))
            thread.join()
        with suppress(OSError):
            path.unlink()
        listener.close()
