"""What `router demo` prepares: its own data on this machine, filled with life once, and the words that greet a newcomer."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from router.accounts.passwords import hash_password, random_password
from router.crypto import load_keys
from router.database import Database, migrate
from router.demo import shop
from router.demo.company import point_integrations
from router.demo.life import bring_to_life, is_alive
from router.demo.places import Places, choose_places
from router.demo.renting import bought_at_the_carrier, ring_here
from router.server import utc_now
from router.settings import SECRETS, Settings, read_settings

HOST = "127.0.0.1"
LOOPBACK = "127.0.0.0/8,::1/128"
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Demo:
    """The demo, ready to be started: the environment of its processes, their settings, the owner's password."""

    environment: dict[str, str]
    settings: Settings
    password: str


def prepare_demo(environ: Mapping[str, str]) -> Demo:
    """Migrates the demo's database and fills it at the first start."""
    environment = demo_environment(environ)
    settings = read_settings(environment)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    places = choose_places(settings.data_dir)
    ring_here(settings.data_dir)
    environment["ROUTER_SIMULATOR_URL"] = places.address
    password = kept_password(settings.data_dir)
    database = Database(settings.database, pool_size=2)
    try:
        migrate(database)
        _furnish(database, settings, places, password)
    finally:
        database.dispose()
    return Demo(environment, read_settings(environment), password)


def demo_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of the demo's processes: its own data, this machine alone, the simulated carrier, whatever else is set.

    What must not count is set to nothing.
    """
    data = Path(environ.get("ROUTER_DATA_DIR") or "data") / "demo"
    secrets = {name: "" for secret in SECRETS for name in (secret, f"{secret}_FILE")}
    own = {
        "ROUTER_DATA_DIR": str(data.absolute()),
        "ROUTER_HOST": HOST,
        "ROUTER_PUBLIC_URL": "",
        "ROUTER_FALLBACK_DESTINATION": shop.COUNTER,
        "ROUTER_CARRIER": "simulator",
        "ROUTER_SIMULATOR_URL": "",
        "TWILIO_ACCOUNT_SID": "",
        "ROUTER_ALLOW_PRIVATE": LOOPBACK,
        "GUNICORN_CMD_ARGS": "--keep-alive=1",  # Ctrl-C waits no longer for the browser's idle connections
    }
    return {"ROUTER_LOG_LEVEL": "warning"} | dict(environ) | secrets | own


def _furnish(database: Database, settings: Settings, places: Places, password: str) -> None:
    if is_alive(database):
        with database.writing() as session:
            point_integrations(session, places)
        return
    hosts = [f"{HOST}:{settings.port}", f"localhost:{settings.port}"]
    hashed = hash_password(password)
    sids = bought_at_the_carrier(settings.data_dir, shop.POOL)
    bring_to_life(database, load_keys(settings), places, settings.base_url, hosts, hashed, sids, utc_now())


def kept_password(data_dir: Path) -> str:
    """The owner's password: random, and the same at every start, so that it can be printed again."""
    path = data_dir / "password"
    if not path.exists():
        path.touch(0o600)
        path.write_text(random_password())
    return path.read_text().strip()


def welcome_when_ready(demo: Demo, say: Callable[[str], None]) -> None:
    """Says where to go as soon as the example site opens, beside whoever starts the processes."""
    threading.Thread(target=_welcome, args=(demo, say), daemon=True).start()


def _welcome(demo: Demo, say: Callable[[str], None]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        if is_answering(demo.settings.base_url):
            say(greeting(demo))
            return
        time.sleep(POLL_SECONDS)
    say(f"router: the demo does not answer at {demo.settings.base_url}; is the port taken? ROUTER_PORT changes it")


def is_answering(base_url: str) -> bool:
    try:
        return httpx.get(f"{base_url}/demo/", timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def greeting(demo: Demo) -> str:
    at = demo.settings.base_url
    return f"""
  The example web site   {at}/demo/?utm_source=google&utm_medium=cpc&utm_campaign=spring
  The telephone          {at}/demo/phone
  What was sent out      {at}/demo/inbox
  The admin pages        {at}/sign-in
                         e-mail   {shop.EMAIL}
                         password {demo.password}

  Everything stays on this machine, in {demo.settings.data_dir}. Ctrl-C stops it.
"""
