"""Changing the secret key: in the end nothing needs the old one."""

import pytest
from sqlalchemy import select

from router.integrations.models import Integration
from router.integrations.settings import reseal
from router.lib.crypto import KeyRing, SealBroken
from router.server import Server
from router.worker import quick_jobs
from tests.integrations.conftest import Office
from tests.integrations.receiver import WEBHOOK_SECRET
from tests.people import NOW
from tests.secret import SECRET

NEW = "another-secret-key-9876543210"


def with_keys(office: Office, *keys: str) -> Server:
    return Server(office.server.settings, office.database, KeyRing(keys))


def secret_under(office: Office, key: str) -> str:
    with office.database.reading() as session:
        return KeyRing((key,)).unseal(session.scalars(select(Integration)).one().sealed)


def test_a_receivers_secret_is_sealed_anew_once_the_new_key_comes_first(office: Office, webhook: Integration) -> None:
    assert reseal(office.server, NOW) == 0
    assert reseal(with_keys(office, SECRET, NEW), NOW) == 0
    with pytest.raises(SealBroken):
        secret_under(office, NEW)
    assert [reseal(with_keys(office, NEW, SECRET), NOW) for _ in range(2)] == [1, 0]
    assert secret_under(office, NEW) == WEBHOOK_SECRET
    with pytest.raises(SealBroken):
        secret_under(office, SECRET)


def test_what_is_sealed_under_none_of_the_keys_stays_as_it_is(office: Office, webhook: Integration) -> None:
    assert reseal(with_keys(office, NEW, "a-third-secret-key-0000000"), NOW) == 0
    assert secret_under(office, SECRET) == WEBHOOK_SECRET


def test_the_worker_does_it() -> None:
    assert reseal in [job.do for job in quick_jobs()]
