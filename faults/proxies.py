"""Slow clients, with a proxy in front of the server and without one."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from faults.debian import program
from faults.fault import Fault
from faults.site import Site
from tests.faults.running import free_port
from tests.faults.slow_clients import Dripping

SLOW_CLIENTS, SECONDS = 200, 60.0
RUNNING = Path(__file__).parent.parent / "docs" / "running.md"
NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    {temporary}
    server {{ listen 127.0.0.1:{port}; {location} }}
}}
"""
CADDYFILE = """{{
    admin off
    auto_https off
}}
http://127.0.0.1:{port} {{
    reverse_proxy 127.0.0.1:{behind}
}}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def drip(site: Site) -> None:
    port = int(site.server.url.rpartition(":")[2])
    with Dripping(port, SLOW_CLIENTS):
        time.sleep(SECONDS)


def _behind(site: Site, run: Callable[[int, int], subprocess.Popen[bytes]]) -> None:
    """The server listens at a port that the proxy knows; callers and slow clients come through the proxy's own."""
    site.activated = site.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
    port = free_port()
    proxy = run(port, site.activated.getsockname()[1])
    site.stack.callback(proxy.wait, 10)
    site.stack.callback(proxy.terminate)
    site.proxy_url = site.environ["ROUTER_PUBLIC_URL"] = f"http://127.0.0.1:{port}"


def put_nginx_in_front(site: Site) -> None:
    """As docs/running.md tells."""
    nginx, environ = program("nginx", "usr/sbin/nginx", site.folder / "nginx")
    documented = re.search(r"```nginx\n(.*?)```", RUNNING.read_text(), re.DOTALL)
    assert documented

    def run(port: int, behind: int) -> subprocess.Popen[bytes]:
        folder = site.folder / "nginx-run"
        folder.mkdir()
        settings = folder / "nginx.conf"
        values = {
            "folder": folder,
            "temporary": " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY),
            "port": port,
            "location": documented[1].replace(":8000", f":{behind}"),
        }
        settings.write_text(NGINX.format(**values))
        return subprocess.Popen(
            [nginx, "-e", folder / "error.log", "-p", folder, "-c", settings], env=os.environ | environ
        )

    _behind(site, run)


def put_caddy_in_front(site: Site) -> None:
    caddy, environ = program("caddy", "usr/bin/caddy", site.folder / "caddy")
    more = {name: str(site.folder / "caddy-run") for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}

    def run(port: int, behind: int) -> subprocess.Popen[bytes]:
        settings = site.folder / "Caddyfile"
        settings.write_text(CADDYFILE.format(port=port, behind=behind))
        command = [caddy, "run", "--adapter", "caddyfile", "--config", settings]
        return subprocess.Popen(command, env=os.environ | environ | more, stderr=subprocess.DEVNULL)

    _behind(site, run)


FAULTS = (
    Fault("slow", "200 clients that send a byte a second for a minute", drip, adds_numbers=True),
    Fault("slow-nginx", "the same, behind nginx", drip, put_nginx_in_front, adds_numbers=True),
    Fault("slow-caddy", "the same, behind Caddy", drip, put_caddy_in_front, adds_numbers=True),
)
