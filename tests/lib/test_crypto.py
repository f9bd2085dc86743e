"""Keys, sealed values, signed tokens and logs: what is secret stays secret, what is foreign is known as foreign."""

import io
import json
import logging
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from router.attribution.tracking.visitors import is_our_visitor, new_visitor, read_visit_token, visit_token
from router.config import SECRETS, Settings, SettingsError, read_settings
from router.lib.crypto import KeyRing, SealBroken, load_keys
from router.operations import configure_logs

OLD, NEW = "an-old-key-of-sixteen", "a-new-key-of-sixteen"
KEYS = KeyRing((NEW,))


def test_a_sealed_value_survives_a_rotation_and_no_other_key() -> None:
    sealed = KeyRing((OLD,)).seal("whsec_x")
    assert KeyRing((NEW, OLD)).unseal(sealed) == "whsec_x"
    with pytest.raises(SealBroken):
        KEYS.unseal(sealed)
    assert "whsec" not in sealed


@given(st.text())
def test_whatever_was_not_sealed_by_us_is_refused(text: str) -> None:
    with pytest.raises(SealBroken):
        KEYS.unseal(text.encode("utf-8", "replace").decode())


@given(st.integers(1, 2**47), st.integers(1, 2**40))
def test_a_visit_token_is_read_in_its_project_and_in_no_other(visit_id: int, project_id: int) -> None:
    token = visit_token(KEYS, project_id, visit_id)
    assert read_visit_token(KEYS, project_id, token) == visit_id
    assert read_visit_token(KEYS, project_id + 1, token) is None
    assert read_visit_token(KeyRing((OLD,)), project_id, token) is None
    assert read_visit_token(KEYS, project_id, token.swapcase()) is None
    assert not is_our_visitor(KEYS, project_id, token)


@given(st.text())
def test_an_invented_token_or_visitor_is_nobodys(text: str) -> None:
    assert read_visit_token(KEYS, 1, text) is None
    assert not is_our_visitor(KEYS, 1, text)


def test_a_visitor_id_is_ours_in_its_own_project_only() -> None:
    visitor = new_visitor(KEYS, 1)
    assert is_our_visitor(KEYS, 1, visitor)
    assert not is_our_visitor(KEYS, 2, visitor)
    assert not is_our_visitor(KEYS, 1, visitor + "=")
    assert len(visitor) == 28


def test_one_purposes_signature_is_no_others() -> None:
    mac = KEYS.sign("visitor 1", b"x")
    assert not KEYS.verify("visit 1", b"x", mac)
    assert not KEYS.verify("visitor 1", b"x", b"")


def test_a_fingerprint_tells_keys_apart_and_holds_none_of_them() -> None:
    assert KEYS.fingerprint != KeyRing((OLD,)).fingerprint
    assert KeyRing((NEW, OLD)).fingerprints == [KEYS.fingerprint, KeyRing((OLD,)).fingerprint]


def test_settings_show_no_secret_when_they_are_printed() -> None:
    given = Settings(secret_key=NEW, twilio_auth_token="twilio-secret", database_url="postgresql://u:password@h/d")
    assert NEW not in repr(given)
    assert "twilio-secret" not in repr(given)
    assert "password" not in repr(given)


def test_a_secret_may_come_from_a_file(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("secrets") / "key"
    path.write_text(f"{NEW}\n")
    assert read_settings({"ROUTER_SECRET_KEY_FILE": str(path)}).secret_key == NEW


GOOD = "0123456789abcdef" * 4
TRAPS = {
    f"{GOOD}              # openssl rand -hex 32; the same on every machine": "a blank",
    f"{GOOD}#1": "“#”",
    "correct horse battery": "a blank",
    f"{GOOD}\tx": "a blank",
    f"{GOOD}\u00a0x": "a blank",
    f"{GOOD}\u200bx": "not ASCII",
    f"\ufeff{GOOD}": "not ASCII",
    f"{GOOD}\udcff": "not ASCII",
    f"{GOOD}é": "not ASCII",
    f'"{GOOD}"': "a quote",
    f"'{GOOD}'": "a quote",
    f"{GOOD}'": "a quote",
    f"`id`{GOOD}": "a quote",
    f"{GOOD}\\n": "a backslash",
    f"{GOOD}$HOME": "“$”",
    f"{GOOD}%h": "“%”",
    f"~{GOOD}": "“~”",
    f"{GOOD}&": "“&”",
    f"{GOOD};x": "“;”",
    f"{GOOD}\0x": "a control character",
    f"{GOOD}\x7f": "a control character",
    f"{GOOD}\nROUTER_PORT=1": "a blank",
}


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as refused:
        read_settings(environ)
    return str(refused.value)


@pytest.mark.parametrize("key", TRAPS)
def test_a_key_that_programs_read_in_different_ways_is_refused_and_not_told(key: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{key}\n", "utf-8", "surrogateescape")
    said = [refusal({"ROUTER_SECRET_KEY": one}) for one in (key, f"{OLD},{key}", f"{key},{OLD}")]
    if "\udcff" not in key:
        said += [refusal({"ROUTER_SECRET_KEY_FILE": str(path)})]
        assert said[-1].startswith("ROUTER_SECRET_KEY_FILE: the key contains ")
    for one in said:
        assert one.startswith("ROUTER_SECRET_KEY")
        assert TRAPS[key] in one
        assert GOOD[:16] not in one


@pytest.mark.parametrize("key", [GOOD, "AZaz09+/=-_.:@^*!?{}[]", "a-key-of-16-chars"])
@pytest.mark.parametrize("around", ["{}", "{}\n", "{}\r\n", " {} ", "{}\n\n"])
def test_a_key_that_all_read_alike_is_the_same_from_everywhere(key: str, around: str, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(around.format(key).encode())
    expected = load_keys(read_settings({"ROUTER_SECRET_KEY": key})).fingerprint
    for environ in ({"ROUTER_SECRET_KEY_FILE": str(path)}, {"ROUTER_SECRET_KEY": around.format(key)}):
        assert load_keys(read_settings(environ)).fingerprint == expected


@pytest.mark.parametrize("key", TRAPS)
def test_in_a_file_a_key_that_is_refused_now_may_go_on_behind_a_new_one(key: str, tmp_path: Path) -> None:
    if "\udcff" in key:
        return
    path = tmp_path / "keys"
    path.write_text(f"{NEW},{key}\n", newline="")
    sealed = KeyRing((key.strip(),)).seal("whsec_x")
    keys = load_keys(read_settings({"ROUTER_SECRET_KEY_FILE": str(path)}))
    assert keys.fingerprint == KEYS.fingerprint
    assert keys.unseal(sealed) == "whsec_x"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("TWILIO_AUTH_TOKEN", "abc   # from the console", "holds a comment"),
        ("ROUTER_DATABASE_URL", "postgresql://u:p@h/router\t# main", "holds a comment"),
        ("ROUTER_DATA_DIR", "/var/lib/router # all we have", "holds a comment"),
        ("ROUTER_GEOIP", "/srv/country.mmdb #1", "holds a comment"),
        ("ROUTER_FALLBACK_DESTINATION", "+14155550100 # reception", "holds a comment"),
        ("TWILIO_AUTH_TOKEN", '"abc"', "stands in quotes"),
        ("ROUTER_DATA_DIR", "'/var/lib/router'", "stands in quotes"),
        ("TWILIO_AUTH_TOKEN", "abc\n# a note", "holds a"),
        ("TWILIO_ACCOUNT_SID", "AC\x00", "control character"),
    ],
)
def test_a_comment_behind_a_value_and_quotes_around_it_are_refused_by_name(
    variable: str, value: str, sentence: str, tmp_path: Path
) -> None:
    said = refusal({variable: value})
    assert said.startswith(f"{variable}: ")
    assert sentence in said
    if variable in SECRETS:
        path = tmp_path / "secret"
        path.write_text(value)
        assert refusal({f"{variable}_FILE": str(path)}).startswith(f"{variable}_FILE: ")


@pytest.mark.parametrize("variable", SECRETS)
def test_a_file_that_holds_no_secret_is_refused_by_name(variable: str, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for content, sentence in ((b"", "is empty"), (b"\n", "is empty"), (b"\xff\xfe\x00", "not text in UTF-8")):
        path.write_bytes(content)
        assert sentence in refusal({f"{variable}_FILE": str(path)})
    assert "cannot read" in refusal({f"{variable}_FILE": str(tmp_path)})


@given(st.text(st.characters(codec="utf-8", exclude_characters=",\0"), min_size=16, max_size=40))
def test_every_key_that_is_taken_is_one_value_for_a_shell_and_for_whoever_takes_the_line_as_it_stands(key: str) -> None:
    try:
        taken = read_settings({"ROUTER_SECRET_KEY": key}).secret_key
    except SettingsError:
        return
    words = shlex.split(f"ROUTER_SECRET_KEY={taken}", comments=True)
    assert words == [f"ROUTER_SECRET_KEY={taken}"]
    assert not set(taken) & set("$`~&;|<>()%")


def test_postgresql_without_a_key_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="ROUTER_SECRET_KEY"):
        load_keys(Settings(database_url="postgresql://h/d"))


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, told = (root.handlers[:], root.level), structlog.get_config()
    configure_logs("info")
    written = io.StringIO()
    assert isinstance(root.handlers[0], logging.StreamHandler)
    root.handlers[0].setStream(written)
    yield written
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.configure(**told)


def test_log_lines_mask_phone_numbers_wherever_they_stand_and_keep_the_calls_id(lines: io.StringIO) -> None:
    log = structlog.get_logger("test")
    with structlog.contextvars.bound_contextvars(call="CA14155552671"):
        log.info(
            "calling +14155552671", caller="+14155552671", rung=["+14155552671", {"to": "+14155552671"}], seconds=12
        )
        logging.getLogger("foreign").warning("said %s", "+14155552671")
        try:
            raise ValueError("no route to +14155552671")
        except ValueError:
            log.exception("failed")
    text = lines.getvalue()
    assert "5552671" not in text.replace("CA14155552671", "")
    written = [json.loads(line) for line in text.splitlines()]
    assert [line["call"] for line in written] == ["CA14155552671"] * 3
    assert written[0]["seconds"] == 12
