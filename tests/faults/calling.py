"""A stream of inbound calls, each asked for as the carrier does: it repeats a request that fails or takes too long."""

import threading
import time
from dataclasses import dataclass

import httpx

from router.lib.http_client import trusted_authorities
from tests.faults.running import Running

TRIES = 3
CONNECT_SECONDS, READ_SECONDS = 1.0, 3.5
"""What a voice URL of ours demands: #ct=1000&rt=3500&rc=2&rp=all."""


@dataclass(frozen=True)
class Placed:
    """A call, and after how many tries and seconds it got which document; an empty one when it got none."""

    sid: str
    tries: int
    seconds: float
    document: str


class Calls:
    """Begins so many calls a second, whatever becomes of those before; at the end of the block all have their answers."""

    def __init__(self, server: Running, number: str, each_second: float) -> None:
        self.placed: list[Placed] = []
        self._server, self._number, self._pause = server, number, 1 / each_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._place_calls)
        self._calls: list[threading.Thread] = []

    def __enter__(self) -> "Calls":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for call in self._calls:
            call.join()

    def _place_calls(self) -> None:
        while not self._stop.wait(self._pause):
            call = threading.Thread(target=self._place, args=(f"CA{len(self._calls)}",))
            self._calls.append(call)
            call.start()

    def _place(self, sid: str) -> None:
        began = time.monotonic()
        form = {"CallSid": sid, "To": self._number, "From": "+14155550177", "CallStatus": "ringing"}
        headers = {
            "X-Twilio-Signature": self._server.validator.compute_signature(self._server.url + "/voice/inbound", form)
        }
        document, tries = "", 0
        client = httpx.Client(
            base_url=self._server.url,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            verify=trusted_authorities(),
        )
        while not document and tries < TRIES:
            tries += 1
            try:
                answer = client.post("/voice/inbound", data=form, headers=headers)
            except httpx.HTTPError:
                continue
            document = answer.text if answer.status_code == 200 else ""
        client.close()
        self.placed.append(Placed(sid, tries, time.monotonic() - began, document))
