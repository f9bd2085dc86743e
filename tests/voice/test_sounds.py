"""Uploaded sounds from their file to the caller's ear: brought by people and programs, named by flows, known to the routing snapshot, and
fetched by the carrier, also when the database is away or the file is lost."""

import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from router.accounts.models import AuditEntry, Project
from router.doctor import examine
from router.lib.audio import SILENCE, mu_law_wav
from router.lib.crypto import KeyRing
from router.scenarios.flows import store_flow
from router.scenarios.models import Scenario, Sound, TrackingNumber
from router.server import Server
from router.voice.following import routing_of
from router.voice.models import JournalPosition
from router.voice.routing import find_route
from router.voice.snapshot import parse_snapshot, write_snapshot
from router.voice.sounds import KEPT, MOST_BYTES, SoundAddresses, delete_retired_sounds, name_of_file
from tests.factories import NOON, make_scenario, make_sound
from tests.people import Cast, bearer, sign_in
from tests.voice.flow_calls import OFFICE, ring

PAGE = "/settings/sounds"
NUMBER = "+12125552001"
WELCOME, OTHER = mu_law_wav(b"\x01" * 16_000), mu_law_wav(b"\x02" * 24_000)
PLAYS = {"steps": [{"id": "s1", "type": "menu", "prompt": {"sound": "welcome"}, "keys": {"1": []}}]}


class Company:
    """Alice's project, which a test brings sounds to as a program."""

    def __init__(self, client: FlaskClient, cast: Cast, server: Server) -> None:
        self.client, self.cast, self.server = client, cast, server
        self.api, self.headers = f"/api/v1/projects/{cast.project.id}/sounds", bearer(cast.alice_token)

    def bring(self, name: str = "welcome", data: bytes = WELCOME, headers: Any = None) -> Any:
        return self.client.post(f"{self.api}?name={quote(name)}", data=data, headers=headers or self.headers)

    def plays(self, document: dict[str, Any] = PLAYS) -> Scenario:
        """A scenario with a number follows this flow."""
        with self.server.database.writing() as session:
            scenario = make_scenario(session, session.get_one(Project, self.cast.project.id), [NUMBER])
            store_flow(session, scenario, document, NOON)
        return scenario

    def addresses(self) -> dict[str, str]:
        """Where the carrier fetches what calls to the number play, as the snapshot says."""
        routing_of(self.server).refresh()
        snapshot = routing_of(self.server).snapshot
        assert snapshot
        with self.server.database.reading() as session:
            stored = find_route(session, NUMBER)
        files = snapshot.routes[NUMBER].sounds
        assert stored is not None
        assert stored.sounds == files
        base_url = self.server.settings.base_url
        whole = dict(SoundAddresses(base_url, self.server.keys, files))
        assert all(address.startswith(f"{base_url}/sounds/") for address in whole.values())
        return {name: address.removeprefix(base_url) for name, address in whole.items()}

    def kept(self) -> list[Path]:
        return [path for path in (self.server.settings.data_dir / "recordings").rglob("*") if path.is_file()]


@pytest.fixture
def company(client: FlaskClient, cast: Cast, server: Server, clock: Any) -> Company:
    return Company(client, cast, server)


def test_a_program_brings_a_sound_and_the_carrier_fetches_and_keeps_it(company: Company, client: FlaskClient) -> None:
    made = company.bring()
    assert made.status_code == 201
    told = {"name": "welcome", "content_type": "audio/wav", "size": len(WELCOME), "seconds": 2.0}
    assert told.items() <= made.get_json().items()
    assert client.get(company.api, headers=company.headers).get_json()["items"] == [made.get_json()]
    there = f"{company.api}/{made.get_json()['id']}"
    assert client.get(there, headers=company.headers).data == WELCOME
    company.plays()
    address = company.addresses()["welcome"]
    answer = client.get(address)
    assert (answer.status_code, answer.data, answer.mimetype) == (200, WELCOME, "audio/wav")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    tag = answer.headers["ETag"]
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 304
    piece = client.get(address, headers={"Range": "bytes=4-7"})
    assert (piece.status_code, piece.data) == (206, WELCOME[4:8])
    head = client.head(address)
    assert (head.headers["Content-Length"], head.data) == (str(len(WELCOME)), b"")

    replaced = client.put(there, data=OTHER, headers=company.headers)
    assert (replaced.status_code, replaced.get_json()["seconds"]) == (200, 3.0)
    assert client.get(there, headers=company.headers).data == OTHER
    other = company.addresses()["welcome"]
    assert other != address, "the carrier keeps what it has fetched by its address"
    assert (client.get(other).data, client.get(address).data) == (OTHER, WELCOME)


def test_a_sound_that_a_flow_plays_is_not_removed_and_one_that_it_played_is_heard_for_a_while(
    company: Company, client: FlaskClient, server: Server, clock: Any
) -> None:
    there = f"{company.api}/{company.bring().get_json()['id']}"
    company.bring("Über uns")
    scenario = company.plays()
    refused = client.delete(there, headers=company.headers)
    assert refused.status_code == 409
    assert f"played by the scenario “{scenario.title}”" in refused.get_json()["detail"]
    address = company.addresses()["welcome"]
    with server.database.writing() as session:
        store_flow(session, session.get_one(Scenario, scenario.id), {"destinations": [{"to": OFFICE}]}, NOON)
    assert client.delete(there, headers=company.headers).status_code == 204
    assert client.delete(there, headers=company.headers).status_code == 404
    clock.shift(timedelta(hours=30))
    assert delete_retired_sounds(server, server.now()) == 0
    assert company.addresses()["welcome"] == address, "calls go on by the version that they began with"
    assert client.get(address).data == WELCOME
    clock.shift(KEPT)
    assert delete_retired_sounds(server, server.now()) == 1
    assert set(company.addresses()) == {"Über uns"}
    assert [path.stat().st_size for path in company.kept()] == [len(WELCOME)]
    with server.database.reading() as session:
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["sound.added", "sound.added", "sound.removed"]


@pytest.mark.one_database
def test_a_number_that_has_left_its_scenario_plays_a_sound_too(company: Company, server: Server) -> None:
    there = f"{company.api}/{company.bring().get_json()['id']}"
    scenario = company.plays()
    with server.database.writing() as session:
        number = session.scalars(select(TrackingNumber).where(TrackingNumber.e164 == NUMBER)).one()
        number.last_flow_id, number.scenario_id = session.get_one(Scenario, scenario.id).call_flow_id, None
        session.get_one(Scenario, scenario.id).deleted_at = NOON
    refused = company.client.delete(there, headers=company.headers)
    assert "“welcome” is played by the number +1 212-555-2001." in refused.get_json()["detail"]


def test_a_flow_names_sounds_of_its_own_project_alone(company: Company, client: FlaskClient, cast: Cast) -> None:
    path = f"/api/v1/projects/{cast.project.id}/scenarios"
    body = {"title": "Spring", "flow": {"steps": [ring(OFFICE, whisper={"sound": "welcome"}), *PLAYS["steps"]]}}
    with company.server.database.writing() as session:
        make_sound(session, session.get_one(Project, cast.other_project.id), "welcome")
    refused = client.post(path, json=body, headers=company.headers).get_json()
    assert set(refused["errors"]) == {"flow.steps.0.whisper.sound", "flow.steps.1.prompt.sound"}
    assert "There is no sound “welcome”. Upload it first." in refused["detail"]
    company.bring()
    made = client.post(path, json=body, headers=company.headers)
    assert made.status_code == 201
    assert made.get_json()["flow"]["steps"][0]["whisper"]["sound"] == "welcome"


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("name", "data", "status", "said"),
    [
        ("welcome", b"<html>", 422, "neither an MP3 nor a WAV"),
        ("welcome", b"", 422, "neither"),
        ("welcome", b"x" * (MOST_BYTES + 1), 413, "larger"),
        ("WELCOME", WELCOME, 409, "There is a sound “welcome” already"),
        ("", WELCOME, 422, "needed"),
        ("..", WELCOME, 422, "no name of a sound"),
        ("x" * 41, WELCOME, 422, "too long"),
        ("a<b", WELCOME, 422, "no name of a sound"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_leaves_nothing(
    company: Company, name: str, data: bytes, status: int, said: str
) -> None:
    company.bring()
    before = company.kept()
    refused = company.bring(name, data)
    assert refused.status_code == status
    assert said in refused.get_json()["detail"]
    assert company.kept() == before
    with company.server.database.reading() as session:
        assert len(session.scalars(select(Sound)).all()) == 1


@pytest.mark.one_database
def test_only_admins_of_the_project_bring_remove_and_hear_sounds(company: Company, client: FlaskClient) -> None:
    there = f"{company.api}/{company.bring().get_json()['id']}"
    for token, status in ((company.cast.bob_token, 403), (company.cast.charlie_token, 404)):
        assert company.bring("other", headers=bearer(token)).status_code == status
        assert client.put(there, data=OTHER, headers=bearer(token)).status_code == status
        assert client.delete(there, headers=bearer(token)).status_code == status
    assert client.get(there, headers=bearer(company.cast.bob_token)).data == WELCOME
    assert client.get(there).status_code == 401


@pytest.mark.one_database
def test_a_sound_that_its_disk_has_no_room_for_is_not_kept(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.lib.file_store.LEAST_FREE", 1 << 60)
    refused = company.bring()
    assert (refused.status_code, "belongs to calls" in refused.text) == (503, True)
    monkeypatch.undo()
    assert company.bring().status_code == 201, "what was begun is in nobody's way"
    with company.server.database.writing() as session:
        for host in ("one", "two"):
            seen = {"position": "", "segment_id": "", "seen_at": NOON, "is_waiting": False, "is_stopped": False}
            session.add(JournalPosition(machine=f"m-{host}", host=host, **seen))
    refused = company.bring("other")
    assert (refused.status_code, "several machines" in refused.text) == (409, True)


@pytest.mark.one_database
def test_a_caller_goes_on_whatever_is_lost(company: Company, client: FlaskClient, server: Server) -> None:
    company.bring()
    company.plays()
    address = company.addresses()["welcome"]
    assert [(finding.words, finding.is_wrong) for finding in examine(server, NOON) if finding.subject == "sounds"] == [
        ("1 sound of call flows, each is there", False)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server.database, "reading", None)
        assert client.get(address).data == WELCOME, "the database is not asked"
    for path in company.kept():
        path.unlink()
    answer = client.get(address)
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "audio/wav", SILENCE)
    assert answer.headers["Cache-Control"] == "no-store"
    (finding,) = [finding for finding in examine(server, NOON) if finding.subject == "sounds"]
    assert (finding.is_wrong, "callers hear silence" in finding.words) == (True, True)
    forged = re.sub(r"-[0-9a-f]{24}", f"-{'0' * 24}", address)
    assert client.get(forged).data == SILENCE, "signed by a machine with another key: the caller goes on too"
    for unknown in ("/sounds/x", "/sounds/../a.wav", f"{address}x", address.replace(".wav", ".html")):
        assert client.get(unknown).status_code == 404


@pytest.mark.one_database
def test_addresses_hold_while_the_key_is_rotated(company: Company, client: FlaskClient, server: Server) -> None:
    company.bring()
    company.plays()
    address = company.addresses()["welcome"]
    server.keys = KeyRing(("another key of the server", *server.keys.keys))
    assert client.get(address).data == client.get(company.addresses()["welcome"]).data == WELCOME


@pytest.mark.one_database
def test_the_file_of_a_snapshot_knows_sounds(company: Company, server: Server, tmp_path: Path) -> None:
    company.bring()
    company.plays()
    company.addresses()
    snapshot = routing_of(server).snapshot
    assert snapshot
    write_snapshot(tmp_path, snapshot, server.keys)
    read = parse_snapshot((tmp_path / "snapshot").read_bytes(), server.keys)
    assert read.routes[NUMBER] == snapshot.routes[NUMBER]
    assert list(read.routes[NUMBER].sounds) == ["welcome"]


@pytest.mark.one_database
def test_sounds_of_a_project_that_is_gone_are_deleted(company: Company, server: Server) -> None:
    company.bring()
    with server.database.writing() as session:
        session.scalars(select(Sound)).one().project_id = 999_999
    assert delete_retired_sounds(server, server.now()) == 1
    assert company.kept() == []


def test_people_bring_hear_replace_and_remove_sounds(company: Company, client: FlaskClient, cast: Cast) -> None:
    sign_in(client, cast.alice)

    def send(path: str, data: bytes, file_name: str, **more: str) -> Any:
        return client.post(PAGE + path, data={"file": (io.BytesIO(data), file_name), **more})

    assert "No sound is here yet" in client.get(PAGE).text
    assert send("", WELCOME, "Grüße, 2026.mp3").status_code == 302
    page = client.get(PAGE).text
    assert "Grüße 2026" in page
    assert "WAV, " in page, "by its bytes, and not by its name"
    assert "no call flow plays it" in page
    (file,) = re.findall(r'src="(/settings/sounds/\d+/file)"', page)
    assert client.get(file).data == WELCOME
    assert client.get(file, headers={"Range": "bytes=0-3"}).data == b"RIFF"
    for data, file_name, name, said in (
        (b"", "", "x", "Choose a file first."),
        (b"<html>", "a.mp3", "x", "neither an MP3 nor a WAV"),
        (WELCOME, "a.mp3", "grüße 2026", "There is a sound “Grüße 2026” already"),
        (WELCOME, "a.mp3", "a/b", "no name of a sound"),
    ):
        refused = send("", data, file_name, name=name)
        assert refused.status_code in (409, 413, 422), said
        assert said in refused.text
    sound = file.removesuffix("/file").removeprefix(PAGE)
    assert "neither" in send(f"{sound}/replace", b"no", "b.wav").text
    assert send(f"{sound}/replace", OTHER, "b.wav").status_code == 302
    assert client.get(file).data == OTHER
    assert client.post(f"{PAGE}{sound}/remove").status_code == 302
    assert client.get(file).status_code == 404
    sign_in(client, cast.bob)
    assert "Upload a sound" not in client.get(PAGE).text
    assert send("", WELCOME, "a.wav").status_code == 403


def test_the_wizard_offers_sounds_and_its_picture_and_a_played_call_name_them(
    company: Company, client: FlaskClient, cast: Cast
) -> None:
    company.bring()
    scenario = company.plays(
        PLAYS | {"steps": [*PLAYS["steps"], ring(OFFICE, whisper={"sound": "welcome"}, accept=True)]}
    )
    sign_in(client, cast.alice)
    page = client.get(f"/scenarios/{scenario.id}/forwarding").text
    assert page.count('<option value="welcome" selected>welcome, 2 s</option>') == 2
    assert "sound welcome" in page
    assert "whispers sound welcome" in " ".join(re.sub(r"<[^>]*>", " ", page).split())
    played = client.get(f"/scenarios/{scenario.id}/play?at=&then=nobody&then=nobody&then=answers.0").text
    assert "the sound welcome" in played
    assert "hears: the sound welcome" in played


@pytest.mark.one_database
def test_what_a_file_is_named_makes_a_name() -> None:
    names = {
        "welcome.mp3": "welcome",
        "/tmp/a b.wav": "a b",
        "C:\\sounds\\b.mp3": "b",
        "Grüße!! (neu).mp3": "Grüße neu",
        ".mp3": "mp3",
        "…": "",
        f"{'x' * 60}.wav": "x" * 40,
    }
    assert {file: name_of_file(file) for file in names} == names
