"""R10: what a CRM lacks is told: by the delivery, on its page, and by one e-mail until it worked again."""

import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from router.accounts.models import Mail, Project
from router.demo.odoo import OdooFake
from router.integrations.models import Delivery, DeliveryAttempt, Integration, IntegrationProblem, Lead
from router.integrations.outbox import fan_out
from router.integrations.receivers import missing_letter, note_missing, open_problems
from router.integrations.views import delivery_document, find_delivery
from router.scenarios.models import Scenario
from tests.factories import make_call, make_integration, make_scenario
from tests.integrations.conftest import Office
from tests.integrations.odoo import Crm, new_number
from tests.people import NOW


@dataclass
class Desk:
    """An office whose calls go to an Odoo."""

    office: Office
    crm: Crm
    now: datetime = NOW

    def connect(self, scenario_id: int, manager: str = "", **fields: str) -> int:
        with self.office.database.writing() as session:
            scenario = session.get_one(Scenario, scenario_id)
            config = {"url": self.crm.url, "database": self.crm.database, "manager": manager, "fields": fields}
            keys = self.office.server.keys
            return make_integration(session, scenario, "crm", "odoo", sealed=keys.seal(self.crm.key), config=config).id

    def name(self, scenario_id: int, manager: str) -> None:
        with self.office.database.writing() as session:
            session.get_one(Scenario, scenario_id).manager = manager

    def call(self, scenario_id: int, caller: str | None = None) -> Delivery:
        """A call of somebody new, delivered a minute after the last one."""
        self.now += timedelta(minutes=1)
        with self.office.database.writing() as session:
            scenario, sid = session.get_one(Scenario, scenario_id), f"CA{secrets.token_hex(16)}"
            call = make_call(session, scenario, caller=caller or new_number(), sid=sid)
            fan_out(session, call, "call.ended", self.now)
            call_id = call.id
        self.office.worker().run_once(self.now)
        with self.office.database.reading() as session:
            delivery = session.scalars(select(Delivery).where(Delivery.call_id == call_id)).one()
            assert delivery.state == "done"
            return delivery

    def mails(self) -> list[Mail]:
        with self.office.database.reading() as session:
            return list(session.scalars(select(Mail).order_by(Mail.id)))

    def problems(self) -> list[tuple[str, str]]:
        with self.office.database.reading() as session:
            return [(one.scenario, one.why) for one in open_problems(session, self.office.project_id)]


@pytest.fixture
def desk(office: Office, stand_in: tuple[OdooFake, str]) -> Desk:
    return Desk(office, Crm(stand_in[1], "crmtest", "the-key", "the-key"))


NOBODY = "Odoo has no user “bob@example.com”: the lead belongs to nobody"


def test_r10_the_delivery_says_who_is_missing(desk: Desk) -> None:
    desk.connect(desk.office.scenario_id, "bob@example.com")
    delivery = desk.call(desk.office.scenario_id)
    assert delivery.reason == NOBODY
    with desk.office.database.reading() as session:
        shown = delivery_document(find_delivery(session, desk.office.project_id, delivery.id))
        (attempt,) = session.scalars(select(DeliveryAttempt))
    assert (shown["state"], shown["reason"]) == ("done", NOBODY)
    assert shown["reference"]["warning"] == NOBODY
    assert shown["reference"]["missing"] == [{"what": "manager", "name": "bob@example.com", "why": NOBODY}]
    assert (attempt.outcome, attempt.message) == ("done", NOBODY)


def test_r10_one_e_mail_for_a_person_who_is_missing_not_one_for_each_call(desk: Desk) -> None:
    desk.connect(desk.office.scenario_id, "bob@example.com")
    for _ in range(3):
        desk.call(desk.office.scenario_id)
    (mail,) = desk.mails()
    assert mail.recipient == "alice@garden.example"
    assert mail.subject == f"Leads of “Site”: {NOBODY}"
    assert "Name somebody else as responsible" in mail.body
    assert desk.problems() == [("Site", NOBODY)]


def test_r10_the_e_mail_is_written_again_only_after_it_worked_in_between(desk: Desk) -> None:
    fake_users = desk.crm.make("res.users", name="Bob", login="bobby@example.com")
    desk.connect(desk.office.scenario_id, "bobby@example.com")
    for active, mails in [(True, 0), (False, 1), (False, 1), (True, 1), (False, 2), (False, 2)]:
        desk.crm.ask("res.users", "write", ids=[fake_users], vals={"active": active})
        desk.call(desk.office.scenario_id)
        assert len(desk.mails()) == mails
        assert len(desk.problems()) == (not active)
    desk.crm.ask("res.users", "unlink", ids=[fake_users])


def test_r10_a_call_that_makes_no_lead_looks_nobody_up_and_changes_nothing(desk: Desk) -> None:
    desk.connect(desk.office.scenario_id, "bob@example.com")
    caller = new_number()
    desk.call(desk.office.scenario_id, caller)
    delivery = desk.call(desk.office.scenario_id, caller)
    assert delivery.reason == ""
    assert len(desk.mails()) == 1
    assert desk.problems() == [("Site", NOBODY)]


def test_r10_each_scenario_each_person_and_each_field_is_told_once(desk: Desk) -> None:
    with desk.office.database.writing() as session:
        project = session.get_one(Project, desk.office.project_id)
        other_id = make_scenario(session, project, 0, title="Flyer").id
    desk.connect(desk.office.scenario_id, "bob@example.com", team_id="No such team", city="Berlin")
    desk.connect(other_id, "bob@example.com")
    desk.name(other_id, "eve@example.com")
    for _ in range(2):
        desk.call(desk.office.scenario_id)
        desk.call(other_id)
    subjects = sorted(mail.subject for mail in desk.mails())
    assert len(subjects) == 4
    assert [subject.split(":")[0] for subject in subjects] == ["Leads of “Flyer”"] * 2 + ["Leads of “Site”"] * 2
    assert any("The lead was made without team_id" in subject for subject in subjects)
    assert len({mail.key for mail in desk.mails()}) == 4


def test_r10_workers_who_learn_of_it_at_once_write_one_e_mail(desk: Desk) -> None:
    desk.connect(desk.office.scenario_id)
    delivery = desk.call(desk.office.scenario_id)
    missing = [{"what": "manager", "name": name, "why": f"{name} is gone"} for name in ("bob", "eve")]
    together = threading.Barrier(4)
    errors: list[Exception] = []

    def learn(order: int) -> None:
        together.wait()
        try:
            with desk.office.database.writing() as session:
                note_missing(session, session.get_one(Delivery, delivery.id), missing[::order], NOW)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=learn, args=(order,)) for order in (1, -1, 1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(desk.mails()) == 2


def test_r10_another_person_in_the_settings_ends_the_problem_at_once(desk: Desk) -> None:
    desk.connect(desk.office.scenario_id, "bob@example.com")
    desk.call(desk.office.scenario_id)
    desk.name(desk.office.scenario_id, "admin")
    assert desk.problems() == [("Site", NOBODY)]  # the connection still names him
    with desk.office.database.writing() as session:
        integration = session.scalars(select(Integration)).one()
        integration.config = integration.config | {"manager": ""}
    assert desk.problems() == []
    desk.call(desk.office.scenario_id)
    with desk.office.database.reading() as session:
        assert session.scalars(select(IntegrationProblem)).all() == []
    assert len(desk.mails()) == 1


def test_r10_a_project_without_an_integration_any_more_has_no_problem(desk: Desk) -> None:
    desk.connect(desk.office.scenario_id, "bob@example.com")
    desk.call(desk.office.scenario_id)
    with desk.office.database.writing() as session:
        session.scalars(select(Integration)).one().removed_at = NOW
    assert desk.problems() == []


def test_r10_the_lead_is_never_lost_and_belongs_to_the_connections_person(desk: Desk) -> None:
    desk.connect(desk.office.scenario_id, "admin")
    desk.name(desk.office.scenario_id, "bob@example.com")
    delivery = desk.call(desk.office.scenario_id)
    assert delivery.reason == "Odoo has no user “bob@example.com”: the lead belongs to Administrator"
    assert desk.crm.lead(delivery.reference["lead_id"])["user_id"][1] == "Administrator"
    with desk.office.database.reading() as session:
        assert session.scalars(select(Lead.external_id)).all() == [str(delivery.reference["lead_id"])]


def test_a_letter_says_what_to_do_about_a_field() -> None:
    letter = missing_letter("Site", "crm.example.com/main", "team_id", "The lead was made without team_id: gone")
    assert "Mend the field of the lead" in letter.body
    assert "crm.example.com/main" in letter.body
