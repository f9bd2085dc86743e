"""Keys, sealed values, signed tokens and logs: what is secret stays secret, what is foreign is known as foreign."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from router.attribution.tokens import is_our_visitor, new_visitor, read_visit_token, visit_token
from router.crypto import KeyRing, SealBroken, load_keys
from router.logs import configure_logs
from router.settings import Settings, SettingsError, read_settings

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
