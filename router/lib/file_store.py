"""Where files lie that are too large for a table: in the data folder of this machine, or in a bucket of a service that speaks S3.

A row names its file and its store, so that files stay where they are when the settings choose another store for new ones."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from router.config import Settings
from router.lib.texts import plain_text
from router.lib.tls import bundle_file

FOLDER = "folder"
PIECE = 256 * 1024
S3_SECONDS = 30
LEAST_FREE = 256 * 1024 * 1024
"""Bytes of the data folder's disk that belong to calls."""


class StoreError(Exception):
    """A file could not be written, read or removed; the message is for people."""


class FileStore(Protocol):
    """Files by names that nobody can guess. All raise StoreErrors and nothing else."""

    name: str
    """As rows keep it."""

    def put(self, file: str, source: Path) -> int:
        """Takes over a file whole, or not at all. Returns its size in bytes as the store tells it afterwards."""

    def read(self, file: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` until before `end`, in pieces. What can go wrong at the beginning does so at once."""

    def size(self, file: str) -> int:
        """In bytes, of a file that is there."""

    def remove(self, file: str) -> None:
        """There is nothing of this name afterwards."""

    def check(self) -> str:
        """What an operator should know of it, in a few words."""


def store_of(settings: Settings) -> FileStore:
    """Where new files go."""
    return S3Store(settings) if settings.s3_bucket else FolderStore(settings.data_dir / "recordings")


def store_named(settings: Settings, name: str) -> FileStore:
    """The store that a row names.

    Raises:
        StoreError: the settings do not name it any more.
    """
    if name == FOLDER:
        return FolderStore(settings.data_dir / "recordings")
    store = S3Store(settings) if settings.s3_bucket else None
    if store is None or store.name != name:
        raise StoreError(f"The file lies in {name}, which ROUTER_S3_BUCKET does not name any more.")
    return store


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror or error}.") from None


def private_folder(path: Path) -> None:
    """Makes a folder and the one above it, so that this user alone may open them."""
    for folder in (path.parent, path):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def incoming(settings: Settings) -> Path:
    """Where files lie until a store has taken them over."""
    return settings.data_dir / "recordings" / "incoming"


def check_room(folder: Path) -> None:
    """
    Raises:
        StoreError: what is left belongs to calls.
    """
    if shutil.disk_usage(folder).free < LEAST_FREE:
        raise StoreError("The disk of the data folder is nearly full, and what is left belongs to calls.")


class FolderStore:
    """Below a folder that only this user may open, in folders of the names' first two letters."""

    name = FOLDER

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, file: str, source: Path) -> int:
        path = self._path(file)
        with _told("The file cannot be kept"):
            private_folder(path.parent)
            source.chmod(0o600)
            source.replace(path)
            for folder in (path.parent, self._folder):  # the name outlives a power cut
                handle = os.open(folder, os.O_RDONLY)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
            return path.stat().st_size

    def read(self, file: str, start: int, end: int) -> Iterator[bytes]:
        self.size(file)

        def pieces() -> Iterator[bytes]:  # opened with the first one: whoever wants none has nothing to close
            left = end - start
            with self._path(file).open("rb") as handle:
                handle.seek(start)
                while left > 0 and (piece := handle.read(min(PIECE, left))):
                    left -= len(piece)
                    yield piece

        return pieces()

    def size(self, file: str) -> int:
        with _told("The file cannot be read"):
            return self._path(file).stat().st_size

    def remove(self, file: str) -> None:
        with _told("The file cannot be removed"), suppress(FileNotFoundError):
            self._path(file).unlink()

    def check(self) -> str:
        with _told(str(self._folder)):
            private_folder(self._folder)
            return f"in {self._folder}, {shutil.disk_usage(self._folder).free / 1024**3:.1f} GiB free"

    def _path(self, file: str) -> Path:
        return self._folder / file[:2] / file


@lru_cache(maxsize=4)
def _client(address: str, region: str, access_key: str, secret_key: str, ca_file: Path | None) -> Any:
    """One client for each process: making one takes longer than a request.

    Raises:
        StoreError: boto3 is not installed.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise StoreError("ROUTER_S3_BUCKET needs boto3: install router[s3].") from None
    config = Config(
        connect_timeout=S3_SECONDS,
        read_timeout=S3_SECONDS,
        retries={"max_attempts": 2},
        s3={"addressing_style": "path" if address else "auto"},
        # checksums beyond what is required are unknown to other services than Amazon's
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.client(
        "s3",
        endpoint_url=address or None,
        region_name=region or None,
        aws_access_key_id=access_key or None,
        aws_secret_access_key=secret_key or None,
        config=config,
        verify=bundle_file(ca_file) if ca_file else None,
    )


class S3Store:
    """A bucket, and a prefix in it: `bucket` or `bucket/some/prefix`."""

    def __init__(self, settings: Settings) -> None:
        self.name = f"s3:{settings.s3_bucket}"
        self._bucket, _, prefix = settings.s3_bucket.partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self._settings = settings

    def put(self, file: str, source: Path) -> int:
        with self._asking("The file cannot be kept") as client, source.open("rb") as body:
            client.put_object(**self._place(file), Body=body)
            size = int(client.head_object(**self._place(file))["ContentLength"])
        with _told("The file was copied and stays here too"):
            source.unlink()
        return size

    def read(self, file: str, start: int, end: int) -> Iterator[bytes]:
        with self._asking("The file cannot be read") as client:
            body = client.get_object(**self._place(file), Range=f"bytes={start}-{end - 1}")["Body"]
        return iter(body.iter_chunks(PIECE))

    def size(self, file: str) -> int:
        with self._asking("The file cannot be read") as client:
            return int(client.head_object(**self._place(file))["ContentLength"])

    def remove(self, file: str) -> None:
        with self._asking("The file cannot be removed") as client:
            client.delete_object(**self._place(file))

    def check(self) -> str:
        with self._asking("The bucket cannot be asked") as client:
            client.head_bucket(Bucket=self._bucket)
        return f"in the bucket {self._settings.s3_bucket}"

    def _place(self, file: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + file}

    @contextmanager
    def _asking(self, what: str) -> Iterator[Any]:
        settings = self._settings
        client = _client(
            *(settings.s3_url, settings.s3_region, settings.s3_access_key, settings.s3_secret_key, settings.ca_file)
        )
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield client
        except (BotoCoreError, ClientError, OSError) as error:
            raise StoreError(plain_text(f"{what}: {error}")[:280]) from None
