"""A Salesforce for the shared saga: leads by a unique field of our own, calls as completed tasks of the kind *Call*."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm import notes
from router.integrations.crm.connector import (
    Access,
    Account,
    CallEntry,
    Caller,
    Choices,
    Connector,
    FieldsRefused,
    Found,
    NewLead,
    OwnField,
    Person,
    Record,
    RecordGone,
    Task,
)
from router.integrations.crm.matching import RecordId
from router.integrations.salesforce import check
from router.integrations.salesforce.client import (
    KEY,
    SalesforceClient,
    SalesforceError,
    quoted,
    sobject_of,
    text_of,
)
from router.integrations.salesforce.search import SalesforceSearch
from router.lib.http_client import Outgoing

LONGEST = {"LastName": 80, "Company": 255}
NEEDED_OF_TASK = ("Subject", "WhoId", "WhatId", "CallObject")
RESULTS = {how: how.replace("_", " ").capitalize() for how in ("answered", "missed", "busy", "failed", "abandoned")}
RESULTS |= {"voicemail": "Voicemail", "blocked": "Blocked"}
"""Of a call, as its field *Call Result* says it."""


class SalesforceConnector(Connector):
    product = "Salesforce"
    lead = "Lead"
    contact = "Contact"
    responsible = "OwnerId"
    needed = ("LastName", "Company", "OwnerId", KEY)
    changes_calls = True

    def __init__(self, outgoing: Outgoing, access: Access) -> None:
        super().__init__(outgoing, access)
        self.client = SalesforceClient(outgoing, access)

    def setting_of(self, name: str) -> str:
        return {"Status": "stage"}.get(name, name)

    def account(self) -> Account:
        return check.account(self.client)

    def choices(self) -> Choices:
        return check.choices(self.client)

    def check(self, lead: NewLead) -> list[str]:
        values, left_out = self.lead_values(lead)
        return [f"{words}." for words in left_out.values()] + check.problems(self.client, values)

    def make_fields(self, fields: Sequence[OwnField]) -> dict[str, str]:
        return check.make_fields(self.client, fields)

    def person(self, name: str) -> Person | str:
        """By id, user name, e-mail or full name."""
        value = quoted(name)
        by_id = f"Id = {value} OR " if name.startswith("005") and name.isalnum() and len(name) in (15, 18) else ""
        names = ("Id", "Name", "Username", "IsActive", "UserType")
        where = f"{by_id}Username = {value} OR Email = {value} OR Name = {value}"
        users = self.client.select("User", names, where, "CreatedDate", 20)
        for user in users:
            if user["IsActive"] and user["UserType"] == "Standard":
                return Person(str(user["Id"]), str(user["Name"]), name)
        return f"“{name}” is no active user of Salesforce any more" if users else f"Salesforce has no user “{name}”"

    def find(self, caller: Caller) -> Iterator[Found]:
        return SalesforceSearch(self.client, caller).parts()

    def moved(self, mark: str) -> Record | None:
        if mark.startswith(notes.MARK):
            where = f"CallObject = {quoted(mark.removeprefix(notes.MARK))}"
        else:
            where = f"Subject = {quoted(mark.removesuffix(' to '))}"
        for task in self.client.select("Task", ("Id", "WhoId", "WhatId"), where, "CreatedDate DESC", 20):
            for record in (task["WhatId"], task["WhoId"]):
                if record and record[:3] in ("00Q", "003", "006"):
                    return Record(self.contact if record[:3] == "003" else self.lead, str(record))
        return None

    def own(self, step: str, key: str, mark: str, record: Record | None) -> RecordId | None:
        if step in ("call", "task"):
            kept = key if step == "call" else f"{key}:task"
            found = self.client.select("Task", ["Id"], f"CallObject = {quoted(kept)}", "CreatedDate", 1)
            return str(found[0]["Id"]) if found else None
        return self._lead_of(key)

    def _lead_of(self, key: str) -> str | None:
        """The lead with our key; when it was converted, what it has become."""
        fields = ("Id", "IsConverted", "ConvertedOpportunityId", "ConvertedContactId")
        try:
            found = self.client.select("Lead", fields, f"{KEY} = {quoted(key)}", limit=1)
        except FieldsRefused as refused:
            if KEY not in refused.fields:
                raise
            self._make_key()  # before the first call there is no such field
            return None
        if not found:
            return None
        lead = found[0]
        became = lead["ConvertedOpportunityId"] or lead["ConvertedContactId"] if lead["IsConverted"] else None
        return str(became or lead["Id"])

    def _make_key(self) -> None:
        """
        Raises:
            DeliveryError: this key may not; the account waits until an administrator has made the field.
        """
        try:
            check.make_field(self.client, KEY, "Call tracking key", is_key=True)
        except DeliveryError as error:
            if not error.permanent and not error.refused_account:
                raise
            words = f"Leads have no field {KEY} that this key may fill, and it may not make one: {error}"
            raise DeliveryError(words, status=error.status, refused_account=True, answer=error.answer) from None

    def lead_values(self, lead: NewLead) -> tuple[dict[str, Any], dict[str, str]]:
        left_out: dict[str, str] = {}
        values: dict[str, Any] = {
            "LastName": lead.title,
            "Company": "[not provided]",
            "Phone": lead.phone,
            "Description": "\n".join(lead.description),
            "LeadSource": "Phone Inquiry",
        }
        if named := str(self.config.get("stage") or "").strip().casefold():
            status = next(
                (
                    one["ApiName"]
                    for one in check.statuses(self.client)
                    if named in (str(one["ApiName"]).casefold(), str(one["MasterLabel"]).casefold())
                ),
                None,
            )
            if status is None:
                left_out["Status"] = f"Salesforce has no lead status “{self.config['stage']}”"
            else:
                values["Status"] = status
        values |= lead.fields
        values = {name: value[: LONGEST[name]] if name in LONGEST else value for name, value in values.items()}
        values[self.responsible] = lead.responsible.id if lead.responsible else None
        return values, left_out

    def create_lead(self, key: str, values: Mapping[str, Any]) -> RecordId:
        given = {name: value for name, value in values.items() if value not in (None, "")} | {KEY: key}
        self.client.assigns = self.responsible not in given
        try:
            return self.client.create(self.lead, given)
        except FieldsRefused as refused:
            if KEY not in refused.fields:
                raise
            self._make_key()
            return self.client.create(self.lead, given)
        except SalesforceError as error:
            there = self._lead_of(key) if "DUPLICATE_VALUE" in error.codes else None
            if there is None:
                raise
            return there
        finally:
            self.client.assigns = False

    def owner(self, record: Record) -> RecordId | None:
        """Not a queue: nobody of it would see a task."""
        owner = str(self.client.read(record.id, [self.responsible]).get(self.responsible) or "")
        return owner if owner.startswith("005") else None

    def read(self, record: Record, names: Sequence[str]) -> dict[str, Any]:
        found = self.client.read(record.id, names)
        return {name: found.get(name) or "" for name in names}

    def change(self, record: Record, values: Mapping[str, Any]) -> None:
        try:
            self.client.change(record.id, {name: None if value == "" else value for name, value in values.items()})
        except SalesforceError as error:
            if error.permanent and any("CONVERTED" in code for code in error.codes):
                raise FieldsRefused(str(error), dict.fromkeys(values, "the lead was converted"), error.status) from None
            raise

    def reopen(self, record: Record) -> None:
        """A lead gets the status of new ones, an opportunity the first stage that is open."""
        if sobject_of(record.id) != self.lead:
            stages = self.client.select("OpportunityStage", ["ApiName", "IsClosed"], "IsActive = true", "SortOrder")
            still_open = next((stage["ApiName"] for stage in stages if not stage["IsClosed"]), None)
            if still_open is not None and self.client.read(record.id, ["IsClosed"])["IsClosed"]:
                self.client.change(record.id, {"StageName": still_open})
            return
        named = str(self.config.get("stage") or "").strip().casefold()
        found = check.statuses(self.client)
        chosen = [one for one in found if named in (str(one["ApiName"]).casefold(), str(one["MasterLabel"]).casefold())]
        status = next(iter([*chosen, *(one for one in found if one["IsDefault"]), *found]), None)
        if status is not None:
            self.client.change(record.id, {"Status": status["ApiName"]})

    def add_call(self, record: Record, entry: CallEntry) -> RecordId:
        values = {
            "Subject": notes.caller_mark(entry.caller),
            "Description": text_of(entry.html),
            "TaskSubtype": "Call",
            "CallType": "Inbound",
            "CallDurationInSeconds": entry.duration,
            "CallDisposition": RESULTS.get(entry.outcome, entry.outcome),
            "CallObject": entry.key,
            "Status": "Completed",
            "ActivityDate": entry.started_at[:10],
            "OwnerId": self.owner(record),
        }
        return self._task(record, values)

    def change_call(self, record: Record, call: RecordId, entry: CallEntry) -> None:
        """Its length is ours; the words and the result are people's as well: words are added, and a result that somebody chose stays."""
        names = ("Id", "Description", "CallDisposition")
        found = self.client.select("Task", names, f"Id = {quoted(str(call))}", limit=1)
        if not found:
            raise RecordGone("Salesforce has no such task any more.", status=404)
        values: dict[str, Any] = {"CallDurationInSeconds": entry.duration}
        words, told = str(found[0]["Description"] or ""), text_of(entry.html)
        if told not in words:
            values["Description"] = f"{words}\n\nCorrected:\n{told}"
        if (found[0]["CallDisposition"] or "") in ("", *RESULTS.values()):
            values["CallDisposition"] = RESULTS.get(entry.outcome, entry.outcome)
        self.client.change(call, values, "Task")

    def add_note(self, record: Record, html: str) -> RecordId:
        today = self.access.now.date().isoformat()
        values = {"Subject": "Note", "Description": text_of(html), "Status": "Completed", "ActivityDate": today}
        return self._task(record, values)

    def note(self, record: Record, mark: str) -> RecordId | None:
        link = "WhatId" if sobject_of(record.id) == "Opportunity" else "WhoId"
        found = self.client.select(
            "Task", ("Id", "Description"), f"{link} = {quoted(str(record.id))}", "CreatedDate DESC", 40
        )
        with_mark = [one["Id"] for one in found if text_of(mark) in str(one["Description"] or "")]
        return str(with_mark[-1]) if with_mark else None

    def add_task(self, record: Record, task: Task) -> RecordId:
        values = {
            "Subject": task.title,
            "Description": text_of(task.html),
            "CallObject": f"{task.key}:task",
            "Status": "Not Started",
            "Priority": "High",
            "ActivityDate": task.due,
            "OwnerId": task.owner,
        }
        return self._task(record, values)

    def _task(self, record: Record, values: Mapping[str, Any]) -> str:
        """At the record, or what a lead has become; without what this Salesforce does not take, such as a status of its own."""
        who, what = self._place(record)
        given = {**values, "WhoId": who, "WhatId": what}
        given = {name: value for name, value in given.items() if value is not None}
        while True:
            try:
                return self.client.create("Task", given)
            except FieldsRefused as refused:
                left = {name: value for name, value in given.items() if name not in refused.fields}
                if left == given or any(name in given and name not in left for name in NEEDED_OF_TASK):
                    raise
                given = left

    def _place(self, record: Record) -> tuple[str | None, str | None]:
        """
        Raises:
            RecordGone
        """
        sobject = sobject_of(record.id)
        if sobject == "Opportunity":
            return None, str(record.id)
        if sobject == "Contact":
            return str(record.id), None
        names = ("IsConverted", "ConvertedContactId", "ConvertedOpportunityId")
        lead = self.client.read(record.id, names)
        if lead.get("IsConverted"):
            return lead.get("ConvertedContactId"), lead.get("ConvertedOpportunityId")
        return str(record.id), None
