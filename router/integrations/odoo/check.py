"""What *Check connection* asks an Odoo: whose it is, what there is to choose from, and whether this key may do what a lead needs.

`load` makes all of its rows or none: so a lead is tried for real in one row, and a second row that no Odoo takes undoes it."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from router.integrations.base import DeliveryError
from router.integrations.crm.connector import Account, Choice, Choices, FieldsRefused, OwnField
from router.integrations.odoo.client import LEAD, PARTNER, OdooClient

MOST_PEOPLE = 300
TYPES = (
    "char",
    "text",
    "html",
    "integer",
    "float",
    "monetary",
    "date",
    "datetime",
    "selection",
    "many2one",
    "many2many",
)
"""Of fields that a template can fill."""
TRIED, UNDONE = "calltrack.check_connection", "calltrack.check connection"
"""External ids; Odoo takes none with a space."""
READ = ((LEAD, "leads"), (PARTNER, "contacts"), ("mail.message", "notes"), ("mail.activity", "activities"))
ALL_LEADS = "sales_team.group_sale_salesman_all_leads"


def account(client: OdooClient) -> Account:
    """`database.uuid`: administrators read it as it is, other users in the address of a page that sells credits."""
    title = f"{client.access.config['database']} at {client.url.split('://')[-1]}"
    address = _allowed(
        client, "iap.account", "get_credits_url", **dict.fromkeys(("service_name", "account_token"), "none")
    )
    uuid = parse_qs(urlsplit(str(address or "")).query).get("dbuuid", [""])[0]
    if not uuid:
        uuid = str(_allowed(client, "ir.config_parameter", "get_param", key="database.uuid") or "")
    return Account(uuid or None, title)


def _allowed(client: OdooClient, model: str, method: str, **arguments: Any) -> Any:
    """What Odoo answers; None where this key may not, or this Odoo has no such model.

    Raises:
        DeliveryError: it cannot be reached, or does not take the key at all.
    """
    try:
        return client.call(model, method, **arguments)
    except DeliveryError as error:
        if error.status in (None, 200, 401, 402, 429) or error.status >= 502:
            raise
        return None


def choices(client: OdooClient) -> Choices:
    people = client.search(
        "res.users", [["share", "=", False]], ["name", "login", "email"], order="name", limit=MOST_PEOPLE
    )
    named = {}
    for model in ("crm.team", "crm.stage"):
        records = client.search(model, [], ["name"], order="id", limit=MOST_PEOPLE)
        named[model] = tuple(Choice(str(record["id"]), str(record["name"])) for record in records)
    fields: Mapping[str, Mapping[str, Any]] = client.call(LEAD, "fields_get", attributes=["string", "type", "readonly"])
    return Choices(
        people=tuple(
            Choice(
                str(user["login"]),
                f"{user['name']} ({user['login']})",
                (str(user["id"]), str(user["name"]), str(user["email"] or "")),
            )
            for user in people
        ),
        pipelines=named["crm.team"],
        stages=named["crm.stage"],
        fields=tuple(
            Choice(name, str(field["string"]))
            for name, field in sorted(fields.items())
            if field["type"] in TYPES and not field["readonly"]
        ),
    )


def problems(client: OdooClient, columns: Mapping[str, Any]) -> list[str]:
    """What a lead of these columns, its note and its task would meet, a sentence each; nothing is left behind."""
    found: list[str] = []
    for model, what in READ:
        if _allowed(client, model, "search_read", domain=[], fields=["id"], limit=1) is None:
            found.append(f"This key may not read {what} ({model}). Give its user the role Sales / User: All Documents.")
    if found:
        return found
    found += _trial(client, columns)
    context = _allowed(client, "res.users", "context_get") or {}
    me = context.get("uid")
    if me and _allowed(client, "res.users", "has_group", ids=[me], group_ext_id=ALL_LEADS) is False:
        found.append(
            "This key sees only leads of its own user and of nobody (Own Documents Only): callers whose lead belongs to somebody else"
            " are not found and get a second one. Give its user the role Sales / User: All Documents."
        )
    owner = columns.get("user_id/.id")
    if me and owner and owner != me:
        (user,) = client.search("res.users", [["id", "=", owner]], ["name", "company_ids"], limit=1) or [{}]
        if user and not user["company_ids"]:
            found.append(
                f"{user['name']} works in another company than the user of this key, and does not see its leads."
                " Use a key of a user of that company."
            )
    return found


def _trial(client: OdooClient, columns: Mapping[str, Any]) -> list[str]:
    rows = [[name, *columns.values()] for name in (TRIED, UNDONE)]
    try:
        _, refusals = client.loading(LEAD, ["id", *columns], rows)
    except FieldsRefused as refused:
        return [f"Leads have no field “{name}” in Odoo." for name in refused.fields]
    said = dict.fromkeys(refusal.words for refusal in refusals if refusal.row == 0)
    return [f"Odoo would refuse the lead: {words[:300]}" for words in said]


def make_fields(client: OdooClient, fields: Sequence[OwnField]) -> dict[str, str]:
    """Fields `x_calltrack_…` of a lead, of one line of text.

    Raises:
        DeliveryError: this key may not; the message says what has to be added by hand.
    """
    names = {field.name: f"x_calltrack_{field.name}" for field in fields}
    there = client.call(LEAD, "fields_get", allfields=list(names.values()), attributes=["type"])
    absent = [field for field in fields if names[field.name] not in there]
    if absent:
        models = client.search("ir.model", [["model", "=", LEAD]], ["id"])
        same = {"model_id": models[0]["id"], "ttype": "char", "state": "manual"}
        rows = [{"name": names[field.name], "field_description": field.label} | same for field in absent]
        client.call("ir.model.fields", "create", vals_list=rows)
    return names
