"""Files of a store as answers: whole, or the range of bytes that a player or a program asks for (RFC 9110, 14)."""

from collections.abc import Mapping

from flask import Response, request
from werkzeug.http import parse_range_header

from router.lib.file_store import FileStore

LARGEST_PIECE = 1024 * 1024
"""Of a request for a range: a player asks for the next one when it needs it, so that none keeps a thread for long."""


def send_stored(
    store: FileStore, file: str, size: int, content_type: str, tag: str, headers: Mapping[str, str]
) -> Response:
    """The file of `size` bytes, or the range that this request asks for.

    Args:
        tag: of its content, without quotes.

    Raises:
        StoreError: its store does not answer, or has no such file.
    """
    told = {"Accept-Ranges": "bytes", "ETag": f'"{tag}"', **headers}
    asked = request.headers.get("Range", "") if request.headers.get("If-Range", told["ETag"]) == told["ETag"] else ""
    try:
        piece = asked_range(asked, size)
    except NotThere:
        return Response(status=416, headers=told | {"Content-Range": f"bytes */{size}"})
    start, end = piece or (0, size)
    told["Content-Length"] = str(end - start)
    if piece is not None:
        told["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    body = () if request.method == "HEAD" else store.read(file, start, end)
    return Response(body, 206 if piece else 200, told, mimetype=content_type, direct_passthrough=True)


class NotThere(Exception):
    """No byte of what was asked for is in the file."""


def asked_range(header: str, size: int) -> tuple[int, int] | None:
    """From where until before where of a file of `size` bytes is asked for, at most LARGEST_PIECE. None: the whole, also where the header
    says nothing that can be done (RFC 9110, 14.2): another unit, several ranges, nonsense.

    Raises:
        NotThere: 416.
    """
    parsed = parse_range_header(header) if header else None
    if parsed is None or parsed.units != "bytes" or len(parsed.ranges) != 1:
        return None
    start, end = parsed.ranges[0]
    if start < 0:  # the last so many bytes
        start = max(0, size + start)
    end = size if end is None else min(end, size)
    if start >= end:
        raise NotThere
    return start, min(end, start + LARGEST_PIECE)
