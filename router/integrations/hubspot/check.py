"""What *Check connection* asks a HubSpot, and what a new deal needs to know of it: people, pipelines, properties."""

from collections.abc import Mapping, Sequence
from typing import Any

from router.integrations.base import DeliveryError
from router.integrations.crm.connector import Account, Choice, Choices, FieldsRefused, OwnField
from router.integrations.hubspot.client import KEY, VERSION, HubSpotClient

READ = {"contacts": "contacts", "deals": "deals", "calls": "contacts", "notes": "contacts", "tasks": "contacts"}
"""Objects, each with the one whose scopes it needs."""
BAIT = "calltrack_check_connection"
"""A property that no HubSpot has: a record with it is refused as a whole."""
FILLED = ("text", "textarea", "phonenumber", "number", "select", "radio", "date", "html", "booleancheckbox")


def account(client: HubSpotClient) -> Account:
    details = client.ask("GET", f"/account-info/{VERSION}/details")
    portal = str(details.get("portalId") or "") if isinstance(details, dict) else ""
    return Account(portal or None, f"HubSpot account {portal or client.access.config['portal']}")


def owners(client: HubSpotClient) -> list[dict[str, Any]]:
    """All who are active: whether the filter by e-mail minds capital letters is not documented."""
    found = client.listed(f"/crm/owners/{VERSION}", limit=100)
    return [owner for owner in found if not owner.get("archived")]


def names_of(owner: Mapping[str, Any]) -> list[str]:
    """Id, e-mail and full name, as far as they are there."""
    name = " ".join(filter(None, (owner.get("firstName"), owner.get("lastName"))))
    return [text for text in (str(owner["id"]), str(owner.get("email") or ""), name) if text]


def pipelines(client: HubSpotClient) -> list[dict[str, Any]]:
    """Each with its stages, in the order in which people see them."""
    found = client.listed(f"/crm/pipelines/{VERSION}/deals")
    found.sort(key=lambda pipeline: pipeline.get("displayOrder") or 0)
    for pipeline in found:
        pipeline["stages"].sort(key=lambda stage: stage.get("displayOrder") or 0)
    return found


def choices(client: HubSpotClient) -> Choices:
    people = [
        Choice(names[1] if "@" in names[1] else names[0], f"{names[-1]} ({names[1]})", tuple(names))
        for owner in owners(client)
        if len(names := names_of(owner)) > 1
    ]
    found = pipelines(client)
    properties = client.listed(f"/crm/properties/{VERSION}/deals")
    return Choices(
        people=tuple(people),
        pipelines=tuple(Choice(str(one["id"]), str(one["label"])) for one in found),
        stages=tuple(
            Choice(str(stage["id"]), str(stage["label"]), within=str(one["id"]))
            for one in found
            for stage in one["stages"]
        ),
        fields=tuple(
            Choice(str(one["name"]), str(one["label"]))
            for one in sorted(properties, key=lambda one: str(one["name"]))
            if one.get("fieldType") in FILLED
            and not (one.get("modificationMetadata") or {}).get("readOnlyValue")
            and not one.get("hidden")
            and not one.get("calculated")
        ),
    )


def place(client: HubSpotClient) -> tuple[str, str, dict[str, str]]:
    """The pipeline and the stage of new deals by the settings; what they name and HubSpot does not have is told and replaced by the first.

    Raises:
        DeliveryError: there is no pipeline of deals.
    """
    left_out: dict[str, str] = {}
    found = pipelines(client)
    if not found:
        raise DeliveryError("HubSpot has no pipeline of deals.", permanent=True, status=200)
    named = str(client.access.config.get("pipeline") or "").strip()
    pipeline = next((one for one in found if _is_named(one, named)), None) if named else None
    if named and pipeline is None:
        left_out["pipeline"] = f"HubSpot has no pipeline “{named}”"
    stage_named = str(client.access.config.get("stage") or "").strip()
    if pipeline is None and stage_named and not named:
        pipeline = next((one for one in found if any(_is_named(at, stage_named) for at in one["stages"])), None)
    pipeline = pipeline or next((one for one in found if one["id"] == "default"), found[0])
    stages = pipeline["stages"]
    stage = next((one for one in stages if _is_named(one, stage_named)), None) if stage_named else None
    if stage_named and stage is None:
        left_out["dealstage"] = f"the pipeline “{pipeline['label']}” has no stage “{stage_named}”"
    stage = stage or next((one for one in stages if not _is_closed(one)), stages[0])
    return str(pipeline["id"]), str(stage["id"]), left_out


def open_stage(client: HubSpotClient, pipeline: str) -> str | None:
    """Where a lost deal of this pipeline begins again."""
    stages = [stage for one in pipelines(client) if one["id"] == pipeline for stage in one["stages"]]
    still_open = [stage for stage in stages if not _is_closed(stage)]
    named = str(client.access.config.get("stage") or "").strip()
    chosen = next((stage for stage in still_open if named and _is_named(stage, named)), None)
    chosen = chosen or next(iter(still_open), None)
    return str(chosen["id"]) if chosen else None


def _is_named(thing: Mapping[str, Any], name: str) -> bool:
    return name.casefold() in (str(thing["id"]).casefold(), str(thing["label"]).strip().casefold())


def _is_closed(stage: Mapping[str, Any]) -> bool:
    return str((stage.get("metadata") or {}).get("isClosed")).lower() == "true"


def problems(client: HubSpotClient, values: Mapping[str, Any]) -> list[str]:
    """What a contact, a deal of these values and their entries would meet, a sentence each; nothing is left behind."""
    portal, typed = account(client).identity, str(client.access.config["portal"])
    if portal is not None and portal != typed:
        return [f"This key belongs to the HubSpot account {portal}, not to {typed}. Type {portal} as account."]
    found: list[str] = []
    for kind, scope in READ.items():
        try:
            client.ask("GET", f"/crm/objects/{VERSION}/{kind}", {"limit": 1})
        except DeliveryError as error:
            if error.status != 403:
                raise
            found.append(f"This key may not read {kind}. Give it the scope crm.objects.{scope}.read.")
    if found:
        return found
    named = str(client.access.config.get("phone_fields") or "").replace(",", " ").split()
    found += [
        f"HubSpot has no property “{name}” for contacts." for name in named if not client.has_property("contacts", name)
    ]
    deal = {name: value for name, value in values.items() if name != "contact" and value is not None}
    for kind, properties in (("contacts", {"phone": "+14155550100"}), ("deals", deal)):
        found += _trial(client, kind, properties)
        if not client.has_property(kind, KEY):
            found.append(
                f"HubSpot has no property “{KEY}” for {kind} yet, by which nothing is made twice: press “Make fields in the CRM”."
            )
    return found


def _trial(client: HubSpotClient, kind: str, properties: Mapping[str, Any]) -> list[str]:
    """HubSpot names all that it refuses of a record; with the bait it makes none."""
    try:
        made = client.create(kind, {**properties, BAIT: "1"})
    except FieldsRefused as refused:
        return [
            f"HubSpot would refuse the field “{name}” of {kind}: {words}"
            for name, words in refused.fields.items()
            if name != BAIT
        ]
    except DeliveryError as error:
        if error.status == 403:
            return [f"This key may not make {kind}. Give it the scope crm.objects.{kind}.write."]
        if error.status == 400 and BAIT in str(error):
            return []
        raise
    client.ask("DELETE", f"/crm/objects/{VERSION}/{kind}/{made}")
    return []


def make_fields(client: HubSpotClient, fields: Sequence[OwnField]) -> dict[str, str]:
    """Properties `calltrack_…` of a deal, of one line of text, and the keys of contacts and deals.

    Raises:
        DeliveryError: this key may not; the message says what has to be added by hand.
    """
    for kind in ("contacts", "deals"):
        client.make_key(kind)
    there = {str(one["name"]) for one in client.listed(f"/crm/properties/{VERSION}/deals")}
    names = {field.name: f"calltrack_{field.name}" for field in fields}
    for field in fields:
        if names[field.name] not in there:
            client.make_property("deals", names[field.name], field.label)
    return names
