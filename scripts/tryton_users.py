"""Read by Tryton's own console (scripts/tryton.sh): two companies, their people, and the users whose keys the tests have.

pool and transaction are the console's. The keys are written as a JSON object."""

import json
import os
from pathlib import Path

SALES = "sale_opportunity", "group_opportunity"


def make(model, **values):
    (made,) = pool.get(model).create([values])  # noqa: F821 - Tryton's console gives it
    return made


def make_user(login, company, group=SALES, employee=None):
    values = {"name": login.title(), "login": login, "email": f"{login}@example.com", "company": company.id}
    values["companies"] = [("add", [company.id])]
    if group:
        values["groups"] = [("add", [pool.get("ir.model.data").get_id(*group)])]  # noqa: F821 - the program's own shell gives it
    if employee:
        values |= {"employees": [("add", [employee.id])], "employee": employee.id}
    return make("res.user", **values)


def key_of(user):
    return make("res.user.application", user=user.id, application="rest").key


with transaction.set_user(0):  # noqa: F821 - the program's own shell gives it
    euro = make("currency.currency", name="Euro", symbol="€", code="EUR")
    germany = make("country.country", name="Germany", code="DE", code3="DEU", code_numeric="276")
    address = {"country": germany.id}
    party = make("party.party", name="Garden GmbH", addresses=[("create", [address])])
    garden = make("company.company", party=party.id, currency=euro.id)
    other = make("company.company", party=make("party.party", name="Other AG").id, currency=euro.id)
    anna, ben = (
        make("company.employee", party=make("party.party", name=name).id, company=garden.id)
        for name in ("Anna Sellers", "Ben Sellers")
    )
    make_user("ben", garden, employee=ben)
    keys = {
        "calltracking": key_of(make_user("calltracking", garden)),
        "anna": key_of(make_user("anna", garden, employee=anna)),
        "none": key_of(make_user("nosales", garden, group=None)),
        "other": key_of(make_user("othercompany", other)),
    }
transaction.commit()  # noqa: F821 - the program's own shell gives it
Path(os.environ["KEYS_FILE"]).write_text(json.dumps(keys))
