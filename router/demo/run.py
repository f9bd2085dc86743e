"""What `router demo` prepares: its own data on this machine, filled with life once, and the words that greet a newcomer."""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
from sqlalchemy import update

from router.accounts.passwords import hash_password, random_password
from router.carriers.models import CarrierAccount
from router.config import SECRETS, Settings, read_settings
from router.db import Database, migrate
from router.demo import shop
from router.demo.company import HOST, Places, choose_places, point_integrations
from router.demo.life import bought_at_the_carrier, bring_to_life, is_alive, ring_here
from router.lib.crypto import load_keys
from router.lib.formats import format_duration
from router.server import utc_now

LOOPBACK = "127.0.0.0/8,::1/128"
FIRST_WORD_SECONDS = 30.0
ANSWER_SECONDS = 30.0
POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Demo:
    """The demo, ready to be started: the environment of its processes, their settings, the owner's password."""

    environment: dict[str, str]
    settings: Settings
    password: str


def prepare_demo(environ: Mapping[str, str], say: Callable[[str], None] = lambda _: None) -> Demo:
    """Says where to go, migrates the demo's database, and fills it at the first start."""
    environment = demo_environment(environ)
    settings = read_settings(environment)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    places = choose_places(settings.data_dir)
    ring_here(settings.data_dir)
    environment["ROUTER_CARRIER_URL"] = places.address
    demo = Demo(environment, read_settings(environment), kept_password(settings.data_dir))
    is_first = not (settings.data_dir / "router.db").exists()
    say(greeting(demo))
    say("  Starting …" + (" The first time, the shop is filled with visitors and calls." if is_first else ""))
    database = Database(settings.database, pool_size=2)
    try:
        migrate(database)
        fill_database(database, settings, places, demo.password)
    finally:
        database.dispose()
    return demo


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
        "ROUTER_CARRIER_URL": "",
        "ROUTER_CARRIER_PRICING_URL": "",
        "ROUTER_CARRIER_MEDIA_URL": "",
        "ROUTER_CARRIER_PERMISSIONS_URL": "",
        "ROUTER_CARRIER_NUMBERS_URL": "",
        "TWILIO_ACCOUNT_SID": "",
        "ROUTER_ALLOW_PRIVATE": LOOPBACK,
        "GUNICORN_CMD_ARGS": "--keep-alive=1",  # Ctrl-C waits no longer for the browser's idle connections
    }
    return {"ROUTER_LOG_LEVEL": "warning"} | dict(environ) | secrets | own


def fill_database(database: Database, settings: Settings, places: Places, password: str) -> None:
    """Visitors and calls of the past, at the first start; later only the places where the demo's receivers are now."""
    if is_alive(database):
        with database.writing() as session:
            point_integrations(session, places)
            session.execute(update(CarrierAccount).values(next_at=utc_now()))  # the carrier forgets tokens
        return
    hosts = [f"{HOST}:{settings.port}", f"localhost:{settings.port}"]
    password_hash = hash_password(password)
    sids = bought_at_the_carrier(settings.data_dir, shop.POOL)
    bring_to_life(database, load_keys(settings), places, settings.base_url, hosts, password_hash, sids, utc_now())


def kept_password(data_dir: Path) -> str:
    """The owner's password: random, and the same at every start, so that it can be printed again."""
    path = data_dir / "password"
    if not path.exists():
        path.touch(0o600)
        path.write_text(random_password())
    return path.read_text().strip()


def say_when_ready(demo: Demo, say: Callable[[str], None]) -> None:
    """Beside whoever runs the processes, who has one thread, because they are its forks."""
    look = partial(is_answering, demo.settings)
    multiprocessing.get_context("fork").Process(target=wait_until_ready, args=(look, say), daemon=True).start()


def wait_until_ready(
    look: Callable[[], bool],
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], object] = time.sleep,
) -> None:
    """Says so as soon as `look` finds everything there, however long that takes; and at growing intervals that it is still to come.

    A process that ends is started again, and the log says so: there is nothing to give up.
    """
    began, next_word = clock(), FIRST_WORD_SECONDS
    while not look():
        if (passed := clock() - began) >= next_word:
            say(f"  Still starting, after {format_duration(passed)} …")
            next_word = 2 * passed
        pause(POLL_SECONDS)
    say("  Ready.")


def is_answering(settings: Settings) -> bool:
    """Whether the example shop, the worker behind it and the telephone are there. Nobody else can answer at our addresses: we hold them."""
    try:
        answers = [
            httpx.get(address, timeout=ANSWER_SECONDS, trust_env=False).status_code
            for address in (f"{settings.base_url}/demo/", f"{settings.base_url}/readyz", settings.carrier_url)
        ]
    except httpx.HTTPError:
        return False
    return answers[:2] == [httpx.codes.OK, httpx.codes.OK]


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
