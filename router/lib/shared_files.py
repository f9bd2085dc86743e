"""Files that the processes of a machine have in their memory together."""

import mmap
import os
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


def open_shared(path: Path, size: int) -> tuple[mmap.mmap, int]:
    """A file of so many bytes, zeros when it is new, and its descriptor, which the caller closes. Where a disk takes none: memory of this
    process alone, and -1. Never raises."""
    handle = -1
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(handle).st_size != size:
            os.ftruncate(handle, size)
        os.posix_fallocate(handle, 0, size)  # a full disk would kill whoever writes into a hole
        return mmap.mmap(handle, size), handle
    except (OSError, ValueError):
        log.warning("file_not_shared", path=str(path))
        if handle >= 0:
            os.close(handle)
        return mmap.mmap(-1, size), -1
