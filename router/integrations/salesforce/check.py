"""What *Check connection* asks a Salesforce, and the fields that are made there.

https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_composite.htm
https://developer.salesforce.com/docs/atlas.en-us.api_tooling.meta/api_tooling/tooling_api_objects_customfield.htm"""

from collections.abc import Mapping, Sequence
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm.connector import Account, Choice, Choices, OwnField
from router.integrations.salesforce.client import KEY, VERSION, SalesforceClient, SalesforceError, quoted

PAGE, MOST_PAGES = 100, 4
PERMISSIONS = "Calltrack"
"""The permission set by which people see our fields."""


def account(client: SalesforceClient) -> Account:
    return Account(client.token().organization or None, client.url.split("://")[-1])


def statuses(client: SalesforceClient) -> list[dict[str, Any]]:
    """Of leads that are not converted, in the order in which people see them."""
    names = ("ApiName", "MasterLabel", "IsDefault", "IsConverted")
    found = client.select("LeadStatus", names, order="SortOrder", limit=100)
    return [status for status in found if not status["IsConverted"]]


def fields(client: SalesforceClient) -> dict[str, str]:
    """Those of a lead that this key may fill, with their labels."""
    where = "EntityDefinition.QualifiedApiName = 'Lead' AND IsCreatable = true"
    found = client.select("EntityParticle", ["QualifiedApiName", "Label"], where, limit=2000)
    return {str(one["QualifiedApiName"]): str(one["Label"]) for one in found}


def choices(client: SalesforceClient) -> Choices:
    users: list[dict[str, Any]] = []
    for page in range(MOST_PAGES):
        names, where = ("Id", "Name", "Username", "Email"), "IsActive = true AND UserType = 'Standard'"
        records = client.select("User", names, where, "Name", PAGE, page * PAGE)
        users += records
        if len(records) < PAGE:
            break
    return Choices(
        people=tuple(
            Choice(
                str(one["Username"]), f"{one['Name']} ({one['Username']})", (str(one["Id"]), str(one["Email"] or ""))
            )
            for one in users
        ),
        stages=tuple(Choice(str(one["ApiName"]), str(one["MasterLabel"])) for one in statuses(client)),
        fields=tuple(Choice(name, label) for name, label in sorted(fields(client).items()) if name != KEY),
    )


def problems(client: SalesforceClient, values: Mapping[str, Any]) -> list[str]:
    """What a lead of these values and its call would meet, a sentence each. Both are made in one request whose last part fails, so that
    Salesforce undoes all of it."""
    found: list[str] = []
    there = fields(client)
    named = str(client.access.config.get("phone_fields") or "").replace(",", " ").split()
    found += [f"Leads have no field “{name}” in Salesforce." for name in named if name not in there]
    if KEY not in there:
        found.append(
            f"Salesforce has no field {KEY} that this key may fill, by which nothing is made twice: press “Make fields in the CRM”."
        )
    lead = {name: value for name, value in values.items() if value is not None and name != KEY}
    task = {"WhoId": "@{lead.id}", "Subject": "Check connection", "CallType": "Inbound", "TaskSubtype": "Call"}
    at = f"/services/data/{VERSION}/sobjects"
    parts = [("lead", f"{at}/Lead", lead), ("call", f"{at}/Task", task), ("undo", f"{at}/Lead", {})]
    body = {
        "allOrNone": True,
        "compositeRequest": [
            {"method": "POST", "url": url, "referenceId": name, "body": values} for name, url, values in parts
        ],
    }
    answer = client.ask("POST", f"/services/data/{VERSION}/composite", body=body)
    for part in answer.get("compositeResponse") or ():
        errors = part["body"] if isinstance(part["body"], list) else []
        if part["referenceId"] != "undo":
            found += [
                f"Salesforce would refuse the {part['referenceId']}: {error.get('message')}"
                for error in errors
                if error.get("errorCode") != "PROCESSING_HALTED"
            ]
    return found


def make_field(client: SalesforceClient, name: str, label: str, *, is_key: bool = False) -> None:
    """A line of text of a lead; one that is there already stays. Nobody sees a new field before a permission set says so.

    Raises:
        DeliveryError: this key may not.
    """
    metadata = {"type": "Text", "label": label, "length": 255}
    if is_key:
        metadata |= {"externalId": True, "unique": True, "caseSensitive": False, "length": 64}
    body = {"FullName": f"Lead.{name}", "Metadata": metadata}
    try:
        client.ask("POST", f"/services/data/{VERSION}/tooling/sobjects/CustomField", body=body)
    except SalesforceError as error:
        if "DUPLICATE_DEVELOPER_NAME" not in error.codes:
            raise
    parent = _permission_set(client)
    permission = {"ParentId": parent, "SobjectType": "Lead", "Field": f"Lead.{name}"}
    try:
        client.create("FieldPermissions", {**permission, "PermissionsRead": True, "PermissionsEdit": True})
    except SalesforceError as error:
        if "DUPLICATE_VALUE" not in error.codes:
            raise


def _permission_set(client: SalesforceClient) -> str:
    """Ours, which the user of this key has."""
    found = client.select("PermissionSet", ["Id"], f"Name = {quoted(PERMISSIONS)}", limit=1)
    number = (
        str(found[0]["Id"])
        if found
        else client.create("PermissionSet", {"Name": PERMISSIONS, "Label": "Call tracking"})
    )
    try:
        client.create("PermissionSetAssignment", {"AssigneeId": client.token().user, "PermissionSetId": number})
    except DeliveryError as error:
        if not isinstance(error, SalesforceError) or "DUPLICATE_VALUE" not in error.codes:
            raise
    return number


def make_fields(client: SalesforceClient, wanted: Sequence[OwnField]) -> dict[str, str]:
    """Fields `Calltrack_…__c` of a lead, of one line of text, and that of our key.

    Raises:
        DeliveryError: this key may not; the message says what has to be added by hand.
    """
    there = fields(client)
    names = {field.name: f"Calltrack_{field.name.title()}__c" for field in wanted}
    for name, label in {KEY: "Call tracking key", **{names[field.name]: field.label for field in wanted}}.items():
        if name not in there:
            make_field(client, name, label, is_key=name == KEY)
    return names
