"""`router demo` keeps to itself: its own data, this machine alone, one password, whatever else is set."""

import shutil
import socket
from pathlib import Path

import pytest
from sqlalchemy import select

from router.accounts.models import Person, Project
from router.accounts.passwords import password_matches
from router.config import read_settings
from router.db import Database
from router.demo.company import choose_places, read_places
from router.demo.run import Demo, demo_environment, greeting, prepare_demo, wait_until_ready
from router.integrations.models import Integration
from router.lib.crypto import load_keys
from router.lib.formats import format_duration

HOSTILE = {
    "ROUTER_HOST": "0.0.0.0",
    "ROUTER_PORT": "8123",
    "ROUTER_PUBLIC_URL": "https://calls.example.com",
    "ROUTER_DATABASE_URL": "postgresql://production/router",
    "ROUTER_SECRET_KEY_FILE": "/nowhere/secret",
    "ROUTER_CARRIER": "twilio",
    "ROUTER_ALLOW_PRIVATE": "10.0.0.0/8",
    "ROUTER_CARRIER_URL": "https://elsewhere.example",
    "ROUTER_CARRIER_PRICING_URL": "https://prices.example",
    "ROUTER_CARRIER_MEDIA_URL": "https://media.example",
    "ROUTER_CARRIER_PERMISSIONS_URL": "https://permissions.example",
    "ROUTER_CARRIER_NUMBERS_URL": "https://numbers.example",
    "TWILIO_ACCOUNT_SID": "AC1",
    "TWILIO_AUTH_TOKEN": "production-token",
}


def test_production_settings_do_not_reach_the_demo(tmp_path: Path) -> None:
    settings = read_settings(demo_environment(HOSTILE | {"ROUTER_DATA_DIR": str(tmp_path)}))
    assert settings.data_dir == tmp_path / "demo"
    assert settings.database == f"sqlite:///{tmp_path}/demo/router.db"
    assert (settings.carrier, settings.twilio_auth_token, settings.secret_key) == ("simulator", "", "")
    assert (settings.carrier_url, settings.twilio_account_sid) == ("", "")
    assert (settings.carrier_pricing_url, settings.carrier_media_url) == ("", "")
    assert (settings.carrier_permissions_url, settings.carrier_numbers_url) == ("", "")
    assert settings.base_url == "http://127.0.0.1:8123"
    assert [str(network) for network in settings.allow_private] == ["127.0.0.0/8", "::1/128"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def first(folder: Path) -> Demo:
    """After its first start; tests only look at it."""
    return prepare_demo({"ROUTER_DATA_DIR": str(folder)})


def test_the_first_start_fills_everything_and_the_second_keeps_it(first: Demo, folder: Path, tmp_path: Path) -> None:
    places = read_places(first.settings.data_dir)
    assert places is not None
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", places.port))
        taken.listen()
        second = prepare_demo({"ROUTER_DATA_DIR": str(tmp_path)})
    moved = read_places(second.settings.data_dir)
    assert moved is not None
    assert moved.port != places.port
    assert (second.settings.carrier_url, second.environment["ROUTER_CARRIER_URL"]) == (moved.address, moved.address)
    assert (second.password, moved.crm_key) == (first.password, places.crm_key)
    database = Database(second.settings.database, pool_size=1)
    with database.reading() as session:
        assert len(session.scalars(select(Project)).all()) == 1
        person = session.scalars(select(Person)).one()
        integrations = list(session.scalars(select(Integration)))
    database.dispose()
    assert password_matches(person.password_hash, first.password)
    crm = next(one for one in integrations if one.slot == "crm")
    assert crm.config["url"] == moved.address
    assert load_keys(second.settings).unseal(crm.sealed) == places.crm_key
    assert first.password in greeting(second)
    assert "/demo/?utm_source=google&utm_medium=cpc&utm_campaign=spring" in greeting(second)


def test_where_to_go_is_said_before_anything_takes_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("router.demo.run.migrate", lambda _: said.append("takes minutes"))
    monkeypatch.setattr("router.demo.run.fill_database", lambda *_: None)
    demo = prepare_demo({"ROUTER_DATA_DIR": str(tmp_path)}, said.append)
    assert said == [
        greeting(demo),
        "  Starting … The first time, the shop is filled with visitors and calls.",
        "takes minutes",
    ]


@pytest.mark.parametrize("hours", [0, 0.005, 0.02, 1, 24])
def test_it_is_waited_for_as_long_as_it_takes_with_few_words(hours: float) -> None:
    now, said = 0.0, []

    def pause(seconds: float) -> None:
        nonlocal now
        now += seconds

    wait_until_ready(lambda: now >= hours * 3600, said.append, lambda: now, pause)
    *between, last = said
    assert last == "  Ready."
    assert between == [line for at, line in STILL if at < hours * 3600]


STILL = [
    (seconds, f"  Still starting, after {format_duration(seconds)} …")
    for seconds in (30 * 2**double for double in range(12))
]


def test_secrets_on_disk_are_for_their_owner_alone(first: Demo) -> None:
    for name in ("password", "simulator.json", "secret.key"):
        assert (first.settings.data_dir / name).stat().st_mode & 0o077 == 0, name


def test_a_broken_file_of_places_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "simulator.json").write_text('{"port": "x"')
    assert choose_places(tmp_path) == read_places(tmp_path)


def test_the_demos_integrations_are_named_as_a_form_would_name_them(first: Demo) -> None:
    """Otherwise the first edit of a scenario would ask for every secret again."""
    places = read_places(first.settings.data_dir)
    assert places is not None
    database = Database(first.settings.database, pool_size=1)
    with database.reading() as session:
        named = {one.slot: one.receiver for one in session.scalars(select(Integration).order_by(Integration.id))}
    database.dispose()
    here = f"127.0.0.1:{places.port}"
    assert named["crm"] == f"odoo:1:{here}/alder"
    assert named["ga4"] == f"ga4:1:{here}/g-demo000001"
    assert named["webhook_end"] == named["webhook_start"] == f"webhook:1:http://{here}/demo/inbox/webhook"
