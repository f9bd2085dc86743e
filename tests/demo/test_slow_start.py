"""`router demo` on a machine where its processes take their time: what a newcomer reads, and when."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from router.supervisor import PortTaken, claim_port
from tests.faults.running import free_port

SLOW_SECONDS = 3
SLEEPY = f"""
import sys, time
if any(word in sys.orig_argv for word in ("gunicorn", "worker", "router.demo.outside")):
    time.sleep({SLOW_SECONDS})
"""
"""What every Python of the demo reads when it starts."""


def test_addresses_and_password_come_first_and_ready_when_it_is(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLEEPY)
    given = {name: value for name, value in os.environ.items() if not name.startswith(("ROUTER_", "TWILIO_"))}
    port = free_port()
    environ = given | {"ROUTER_PORT": str(port), "ROUTER_DATA_DIR": str(tmp_path / "data")}
    environ["PYTHONPATH"] = f"{tmp_path}:{Path(__file__).parents[2]}"
    command = [sys.executable, "-m", "router", "demo"]
    with (tmp_path / "complaints").open("w+") as complaints:
        process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=complaints, text=True)
        with process:
            assert process.stdout
            try:
                said = [process.stdout.readline() for _ in range(11)]
                with pytest.raises(PortTaken):  # it is the demo that has it, and it does not answer yet
                    claim_port("127.0.0.1", port)
                early = httpx.get(f"http://127.0.0.1:{port}/demo/", timeout=300, trust_env=False)
                then = [process.stdout.readline()]
                while then[-1].startswith("  Still starting, after "):
                    then.append(process.stdout.readline())
            finally:
                process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(60) == 0
        complaints.seek(0)
        assert complaints.read() == ""
    password = (tmp_path / "data" / "demo" / "password").read_text()
    assert f"http://127.0.0.1:{port}/demo/?utm_source=google" in said[1]
    assert said[6].endswith(f"password {password}\n")
    assert said[10].startswith("  Starting …"), "and nothing of it waited for a process that slept"
    assert early.status_code == 200, "who opened the address at once gets the page"
    assert (then[-1], rest) == ("  Ready.\n", "")
