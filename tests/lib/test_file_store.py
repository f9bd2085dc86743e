"""Files are kept whole, read in pieces and removed, in a folder as in a bucket; the bucket is a stand-in that speaks S3's REST."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from router.config import Settings, SettingsError, read_settings
from router.lib.file_store import FileStore, FolderStore, S3Store, StoreError, store_named, store_of

SOUND = bytes(range(256)) * 8
SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=key-1/\d{8}/eu-central-1/s3/aws4_request")


class Bucket(BaseHTTPRequestHandler):
    """One bucket, `company`."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, bucket, key = [*self.path.partition("?")[0].split("/", 2), ""][:3]
        if not SIGNED.match(self.headers.get("Authorization", "")) or bucket != "company":
            self._answer(403, b"<Error><Code>AccessDenied</Code><Message>No.</Message></Error>")
        elif self.command == "PUT":
            self.objects[key] = body
            self._answer(200, ETag='"1"')
        elif self.command == "DELETE":
            self.objects.pop(key, None)
            self._answer(204)
        elif not key:
            self._answer(200)
        elif key not in self.objects:
            self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>There is none.</Message></Error>")
        elif found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            self._answer(206, self.objects[key][int(found[1]) : int(found[2]) + 1])
        elif self.command == "HEAD":
            self._answer(200, Content_Length=str(len(self.objects[key])))
        else:
            self._answer(200, self.objects[key])

    do_PUT = do_GET = do_HEAD = do_DELETE = _do


@pytest.fixture(scope="module")
def service() -> Iterator[tuple[str, dict[str, bytes]]]:
    objects: dict[str, bytes] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Bucket,), {"objects": objects}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", objects
    server.shutdown()
    thread.join()
    server.server_close()


def bucket_settings(url: str, **values: Any) -> Settings:
    given = {"s3_bucket": "company/calls", "s3_url": url, "s3_region": "eu-central-1"}
    return Settings(**given | {"s3_access_key": "key-1", "s3_secret_key": "secret"} | values)


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path, service: tuple[str, Any]) -> FileStore:
    if request.param == "folder":
        return store_of(Settings(data_dir=tmp_path))
    return store_of(bucket_settings(service[0]))


def test_a_file_is_kept_read_in_pieces_and_removed(store: FileStore, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for content in (SOUND[:100], SOUND):  # the second time in place of the first
        source.write_bytes(content)
        assert store.put("ab12", source) == len(content)
        assert not source.exists()
    assert b"".join(store.read("ab12", 0, len(SOUND))) == SOUND
    assert b"".join(store.read("ab12", 300, 310)) == SOUND[300:310]
    assert store.size("ab12") == len(SOUND)
    assert store.check().startswith("in ")
    store.remove("ab12")
    store.remove("ab12")
    with pytest.raises(StoreError, match="cannot be read"):
        store.read("ab12", 0, 10)


def test_what_cannot_be_put_is_said_and_leaves_nothing(store: FileStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be kept"):
        store.put("cd34", tmp_path / "nothing")
    with pytest.raises(StoreError):
        store.read("cd34", 0, 10)


def test_the_bucket_gets_the_prefix_and_nothing_else(service: tuple[str, dict[str, bytes]], tmp_path: Path) -> None:
    url, objects = service
    store = store_of(bucket_settings(url))
    (tmp_path / "source").write_bytes(SOUND)
    store.put("ef56", tmp_path / "source")
    assert objects == {"calls/ef56": SOUND}


def test_a_bucket_that_is_not_ours_or_away_is_said(service: tuple[str, dict[str, bytes]]) -> None:
    with pytest.raises(StoreError, match="The bucket cannot be asked"):
        S3Store(bucket_settings(service[0], s3_bucket="other")).check()
    with pytest.raises(StoreError, match="The bucket cannot be asked"):
        S3Store(bucket_settings("http://127.0.0.1:9")).check()


def test_a_row_is_read_from_the_store_that_it_names(tmp_path: Path, service: tuple[str, Any]) -> None:
    settings = bucket_settings(service[0], data_dir=tmp_path)
    assert isinstance(store_named(settings, "folder"), FolderStore)
    assert store_named(settings, "s3:company/calls").name == store_of(settings).name == "s3:company/calls"
    for other in (settings.model_copy(update={"s3_bucket": ""}), settings.model_copy(update={"s3_bucket": "new"})):
        with pytest.raises(StoreError, match="ROUTER_S3_BUCKET"):
            store_named(other, "s3:company/calls")


@pytest.mark.parametrize("bucket", ["A", "s3://x", "a b", "-x", "x/../é"])
def test_what_is_no_bucket_is_refused_at_the_start(bucket: str) -> None:
    with pytest.raises(SettingsError, match="ROUTER_S3_BUCKET: must be a bucket"):
        read_settings({"ROUTER_S3_BUCKET": bucket})


def test_a_program_without_boto3_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    with pytest.raises(StoreError, match="install router"):
        S3Store(bucket_settings("http://127.0.0.1:9", s3_region="eu-west-9")).check()
