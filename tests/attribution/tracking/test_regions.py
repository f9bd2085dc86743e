"""R2: the visitor's region comes from a file that the operator supplies, at the beginning of a visit; his address is not kept."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from sqlalchemy import select

from router.app import create_app
from router.attribution.models import Visit
from router.attribution.tracking.visitors import Regions
from router.config import Settings, SettingsError
from tests.application import Applications
from tests.factories import make_project, make_scenario

CALIFORNIA, BERLIN, LONDON, BRAZIL = "203.0.113.77", "198.51.100.9", "2001:db8:1234:5678::1", "192.0.2.200"
SITE = {"Origin": "https://shop.example", "User-Agent": "Mozilla/5.0"}


def place(country: str, *parts: str) -> dict[str, Any]:
    record: dict[str, Any] = {"country": {"iso_code": country, "names": {"en": country}}}
    return record | ({"subdivisions": [{"iso_code": part} for part in parts]} if parts else {})


CITY = {
    "203.0.113.0/24": place("US", "CA"),
    "198.51.100.0/24": place("DE", "BE"),
    "2001:db8:1234::/48": place("GB", "ENG", "WSM"),
}
COUNTRY = {"203.0.113.0/24": place("US"), "198.51.100.0/24": {"registered_country": {"iso_code": "DE"}}}


def write(path: Path, networks: dict[str, Any], kind: str = "GeoIP2-City") -> Path:
    writer = MMDBWriter(6, kind, ipv4_compatible=True)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    beside = path.with_suffix(".new")
    writer.to_db_file(str(beside))
    beside.rename(path)
    return path


@pytest.fixture
def regions(tmp_path: Path) -> Iterator[Regions]:
    opened = Regions(write(tmp_path / "geo.mmdb", CITY))
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("address", "region"),
    [(CALIFORNIA, "US-CA"), (BERLIN, "DE-BE"), (LONDON, "GB-ENG"), (BRAZIL, ""), ("", ""), ("nonsense", "")],
)
def test_r2_a_city_file_names_the_region(regions: Regions, address: str, region: str) -> None:
    assert regions.region_of(address) == region


def test_r2_a_country_file_names_the_country(tmp_path: Path) -> None:
    regions = Regions(write(tmp_path / "geo.mmdb", COUNTRY, "GeoLite2-Country"))
    assert [regions.region_of(one) for one in (CALIFORNIA, BERLIN, BRAZIL)] == ["US", "DE", ""]
    regions.close()


@pytest.mark.parametrize(
    "record", ["US", {"country": "US"}, {"country": {"iso_code": "usa"}}, place("US", "much too long") | {"x": 1}]
)
def test_r2_a_strange_record_gives_no_region_that_does_not_fit(tmp_path: Path, record: Any) -> None:
    regions = Regions(write(tmp_path / "geo.mmdb", {"203.0.113.0/24": record}))
    assert regions.region_of(CALIFORNIA) in ("", "US")
    regions.close()


def test_a_new_file_is_read_without_a_restart_and_a_broken_one_leaves_the_old_in_use(
    regions: Regions, tmp_path: Path
) -> None:
    path = tmp_path / "geo.mmdb"
    write(path, {"203.0.113.0/24": place("US", "NY")})
    assert regions.region_of(CALIFORNIA) == "US-NY"
    broken = tmp_path / "broken"
    broken.write_bytes(b"half a file")
    broken.rename(path)
    assert regions.region_of(CALIFORNIA) == "US-NY"
    path.unlink()
    assert regions.region_of(CALIFORNIA) == "US-NY"
    write(path, CITY)
    assert regions.region_of(CALIFORNIA) == "US-CA"


def test_a_file_that_is_overwritten_in_place_costs_no_page_its_number(regions: Regions, tmp_path: Path) -> None:
    path = tmp_path / "geo.mmdb"
    size = path.stat().st_size
    path.write_bytes(os.urandom(size // 2))
    assert regions.region_of(CALIFORNIA) == ""


@pytest.mark.parametrize("content", [None, b"", b"no such format"])
def test_a_file_that_cannot_be_read_stops_the_start_and_names_the_setting(
    settings: Settings, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "geo.mmdb"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"ROUTER_GEOIP: cannot read .*geo\.mmdb"):
        create_app(settings.model_copy(update={"geoip": path}))


@pytest.fixture
def located(settings: Settings, applications: Applications, tmp_path: Path) -> Iterator[Flask]:
    city = settings.model_copy(update={"geoip": write(tmp_path / "geo.mmdb", CITY)})
    with applications.with_settings(city) as app:
        yield app
        app.extensions["router"].regions.close()


def view(app: Flask, address: str, visitor: str | None = None) -> dict[str, Any]:
    body = {"page": "https://shop.example/", "visitor": visitor}
    headers = SITE | {"X-Forwarded-For": address}
    answer = app.test_client().post("/tag/k-shop/visits", json=body, headers=headers)
    assert answer.status_code == 201
    found: dict[str, Any] = answer.get_json()
    return found


def test_r1_r14_the_region_of_the_whole_address_decides_and_only_the_region_is_kept(located: Flask) -> None:
    server = located.extensions["router"]
    with server.database.writing() as session:
        project = make_project(session)
        west = make_scenario(session, project, 2, terms={"only_regions": ["US-CA"]}).id
        not_germany = make_scenario(session, project, 2, terms={"excluded_regions": ["DE"]}).id
    american = view(located, CALIFORNIA)
    assert [one["scenario"] for one in american["numbers"]] == [west, not_germany]
    assert view(located, BERLIN)["numbers"] == []
    assert [one["scenario"] for one in view(located, BRAZIL)["numbers"]] == [not_germany]
    assert view(located, BERLIN, american["visitor"]) == american, "the region is that of the visit's beginning"
    with server.database.reading() as session:
        visits = session.execute(select(Visit.region, Visit.address).order_by(Visit.id)).all()
    assert [tuple(visit) for visit in visits] == [
        ("US-CA", "203.0.113.0"),
        ("DE-BE", "198.51.100.0"),
        ("", "192.0.2.0"),
    ]
