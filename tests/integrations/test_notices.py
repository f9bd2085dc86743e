"""R11: what people are told of a receiver: once for each cause, with what helps at night; and receivers that are switched off."""

from datetime import datetime, timedelta

from sqlalchemy import select

from router.accounts.models import Mail
from router.integrations.models import Delivery, Integration, ReceiverHealth
from router.integrations.outbox import replay_dead
from router.integrations.queue import ACCOUNT_PAUSE, Outcome
from router.integrations.receivers import place_of, receivers_of_project, switch_on, troubles
from router.scenarios.models import Scenario
from tests.factories import make_integration, make_project, make_scenario
from tests.integrations.conftest import Office
from tests.integrations.outbox import DONE, FAILED, add, claims, deliveries, end, ended_call
from tests.people import NOW

HOOK = "webhook:1:hooks.example.com/calls"
CRM = "odoo:1:crm.example.com/main"
REFUSED = Outcome("retry", "Odoo refuses the key: Invalid apikey.", status=401, refused_account=True)
GONE = Outcome("retry", "The receiver answered 410.", status=410, gone=True)


def mails(office: Office) -> list[Mail]:
    with office.database.reading() as session:
        return list(session.scalars(select(Mail).order_by(Mail.id)))


def fail_until(office: Office, until: datetime, since: datetime = NOW) -> None:
    """A new call every six hours, of whose deliveries each that is due fails."""
    now = since
    while now <= until:
        ended_call(office)
        for one in claims(office.database, now):
            end(office.database, one, FAILED, now)
        now += timedelta(hours=6)


def test_r11_a_refused_key_is_told_once_and_again_only_after_it_worked(office: Office) -> None:
    add(office, "crm", "odoo", receiver=CRM)
    for _ in range(3):
        ended_call(office, caller=None)
    now = NOW
    for _ in range(3):
        (one,) = claims(office.database, now)
        end(office.database, one, REFUSED, now)
        now += ACCOUNT_PAUSE
    (mail,) = mails(office)
    assert mail.recipient == "alice@garden.example"
    assert mail.subject == "crm.example.com/main refuses the key that it gets from us"
    for words in (
        "“Site”",
        "Invalid apikey",
        "3 deliveries wait",
        "nothing is lost",
        "What to do:",
        "(America/New_York)",
    ):
        assert words in mail.body
    (one,) = claims(office.database, now)
    end(office.database, one, DONE, now)
    (one,) = claims(office.database, now)
    end(office.database, one, REFUSED, now)
    assert len(mails(office)) == 2


def test_r11_deliveries_that_die_are_told_once_a_day_for_each_receiver(office: Office) -> None:
    add(office, "webhook_end", "webhook", receiver=HOOK)
    add(office, "crm", "odoo", receiver=CRM)
    for hours in (0, 1, 2, 25):
        ended_call(office, caller=None)
        for one in claims(office.database, NOW + timedelta(hours=hours)):
            end(office.database, one, Outcome("dead", "It answered 400.", status=400), NOW + timedelta(hours=hours))
    assert sorted(mail.subject for mail in mails(office)) == [
        *["A delivery to crm.example.com/main was given up"] * 2,
        *["A delivery to hooks.example.com/calls was given up"] * 2,
    ]
    assert "It answered 400" in mails(office)[0].body


def test_r11_each_project_that_names_a_receiver_is_told(office: Office) -> None:
    add(office, "crm", "odoo", receiver=CRM)
    with office.database.writing() as session:
        other = make_project(session, name="Bob’s Bikes", email="bob@bikes.example")
        make_integration(session, make_scenario(session, other, 0, title="Shop"), "crm", "odoo", receiver=CRM)
    ended_call(office)
    (one,) = claims(office.database)
    end(office.database, one, REFUSED)
    told = {mail.recipient: mail.body for mail in mails(office)}
    assert told.keys() == {"alice@garden.example", "bob@bikes.example"}
    assert "“Shop”" in told["bob@bikes.example"]
    assert "“Shop”" not in told["alice@garden.example"]


def test_r11_after_five_days_of_nothing_but_failure_a_receiver_is_switched_off_with_a_warning_a_day_before(
    office: Office,
) -> None:
    add(office, "webhook_end", "webhook", receiver=HOOK)
    fail_until(office, NOW + timedelta(days=3, hours=23))
    assert not [mail for mail in mails(office) if "switched off" in mail.subject]
    fail_until(office, NOW + timedelta(days=4, hours=18), NOW + timedelta(days=4))
    (warning,) = [mail for mail in mails(office) if "switched off" in mail.subject]
    assert warning.subject == "hooks.example.com/calls will be switched off tomorrow"
    fail_until(office, NOW + timedelta(days=5, hours=6), NOW + timedelta(days=5))
    off = [mail.subject for mail in mails(office) if "is switched off" in mail.subject]
    assert off == ["hooks.example.com/calls is switched off"]
    ended_call(office)
    assert claims(office.database, NOW + timedelta(days=9)) == []
    with office.database.reading() as session:
        (trouble,) = troubles(session, office.project_id)
        assert trouble.off_since is not None


def test_r11_one_success_within_the_five_days_begins_them_anew(office: Office) -> None:
    add(office, "webhook_end", "webhook", receiver=HOOK)
    fail_until(office, NOW + timedelta(days=3))
    now = NOW + timedelta(days=3, hours=3)
    (one,) = claims(office.database, now)
    end(office.database, one, DONE, now)
    fail_until(office, NOW + timedelta(days=6), now)
    assert not [mail for mail in mails(office) if "switched off" in mail.subject]


def test_r11_an_address_that_is_gone_is_switched_off_at_once_and_what_is_for_it_waits(office: Office) -> None:
    add(office, "webhook_end", "webhook", receiver=HOOK)
    for _ in range(3):
        ended_call(office)
    (one,) = claims(office.database)
    end(office.database, one, GONE)
    ended_call(office)
    assert claims(office.database, NOW + timedelta(days=1), at_once=9) == []
    assert [(row.state, row.attempts) for row in deliveries(office.database)] == [("pending", 0)] * 4
    (mail,) = mails(office)
    assert "410" in mail.body
    assert "4 deliveries" not in mail.body, "the last one came later"
    later = NOW + timedelta(days=1)
    with office.database.writing() as session:
        switch_on(session, HOOK, later)
    assert len(claims(office.database, later, at_once=9)) == 4


def test_sending_what_was_given_up_again_switches_its_receiver_on(office: Office) -> None:
    add(office, "webhook_end", "webhook", receiver=HOOK)
    for _ in range(2):
        ended_call(office)
    first, second = claims(office.database, at_once=2)
    end(office.database, first, Outcome("dead", "It answered 400.", status=400))
    end(office.database, second, GONE)
    with office.database.writing() as session:
        assert replay_dead(session, office.project_id, HOOK, NOW) == 1
    assert len(claims(office.database, at_once=9)) == 2


def test_how_receivers_fare_is_told_by_receiver_and_in_words(office: Office) -> None:
    add(office, "webhook_end", "webhook", receiver=HOOK)
    add(office, "crm", "odoo", receiver=CRM)
    add(office, "ga4", "ga4", receiver="ga4:1:google")
    for _ in range(2):
        ended_call(office, caller=None)
    for one in claims(office.database):
        outcomes = {HOOK: GONE, CRM: REFUSED}
        end(office.database, one, outcomes.get(one.job.receiver, DONE))
    with office.database.reading() as session:
        off, paused, works = receivers_of_project(session, office.project_id, NOW)
    assert (off.receiver, off.state, off.since, off.waiting, off.last_error) == (HOOK, "off", NOW, 2, GONE.message)
    assert (paused.receiver, paused.state, paused.open_until) == (CRM, "paused", NOW + ACCOUNT_PAUSE)
    assert (works.receiver, works.state, works.since, works.waiting, works.scenarios) == (
        *("ga4:1:google", "works", None, 1),
        ("Site",),
    )


def test_a_receiver_that_nobody_names_any_more_tells_nobody(office: Office) -> None:
    integration = add(office, "crm", "odoo", receiver=CRM)
    ended_call(office)
    (one,) = claims(office.database)
    with office.database.writing() as session:
        session.get_one(Integration, integration).removed_at = NOW
    end(office.database, one, REFUSED)
    assert mails(office) == []
    with office.database.reading() as session:
        assert receivers_of_project(session, office.project_id, NOW) == []


def test_a_receiver_goes_by_what_people_know_of_it() -> None:
    assert place_of("webhook:3:http://10.0.0.1:8080/hook") == "http://10.0.0.1:8080/hook"


def test_the_health_of_one_project_says_nothing_of_another(office: Office) -> None:
    add(office, "webhook_end", "webhook", receiver=HOOK)
    with office.database.writing() as session:
        other = make_project(session, name="Bob’s Bikes", email="bob@bikes.example").id
        session.add(ReceiverHealth(receiver=HOOK, failures=1, failing_since=NOW))
        assert session.scalars(select(Scenario.id)).all()
        assert session.scalars(select(Delivery.id)).all() == []
    with office.database.reading() as session:
        assert receivers_of_project(session, other, NOW) == []
        assert troubles(session, other) == []
