"""Read by Odoo's own shell (scripts/odoo.sh): the users whose keys the tests have, written as lines `NAME=value` for a shell.

env is the shell's."""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

KEYS = env["res.users.apikeys"]  # noqa: F821 - Odoo's shell gives it


def make(login, name, group, **more):
    groups = [(4, env.ref(group).id)]  # noqa: F821 - the program's own shell gives it
    return env["res.users"].create({"name": name, "login": login, "group_ids": groups, **more})  # noqa: F821 - the program's own shell gives it


def key_of(user):
    return KEYS.with_user(user).sudo()._generate("rpc", "tests", datetime.now() + timedelta(days=30))  # noqa: DTZ005 - Odoo has naive moments


company = env["res.company"].create({"name": "Other company"})  # noqa: F821 - the program's own shell gives it
of_other = {"company_id": company.id, "company_ids": [(6, 0, [company.id])]}
manager = make("calltracking", "Call tracking", "sales_team.group_sale_manager")
keys = {
    "own": key_of(make("owndocuments", "Own documents", "sales_team.group_sale_salesman")),
    "none": key_of(make("nosales", "Not of sales", "base.group_user")),
    "other": key_of(make("othercompany", "Of another company", "sales_team.group_sale_manager", **of_other)),
    "expired": key_of(manager),
}
env.cr.execute(  # noqa: F821 - the program's own shell gives it
    "UPDATE res_users_apikeys SET expiration_date = now() at time zone 'utc' - interval '1 day' WHERE user_id = %s",
    [manager.id],
)
lines = {
    "ODOO_API_KEY": key_of(manager),
    "ODOO_ADMIN_KEY": key_of(env.ref("base.user_admin")),  # noqa: F821 - the program's own shell gives it
    "ODOO_KEYS": "'" + json.dumps(keys) + "'",
}
env.cr.commit()  # noqa: F821 - the program's own shell gives it
Path(os.environ["KEYS_FILE"]).write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
