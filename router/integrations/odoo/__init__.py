"""Odoo as a CRM, version 19 and later."""

from router.integrations.base import Vendor
from router.integrations.crm import CRM
from router.integrations.odoo.sender import OdooSender
from router.integrations.odoo.settings import OdooSettings

ODOO = Vendor(
    kind="odoo",
    name="Odoo",
    product="Odoo 19 or later",
    events={CRM: ("call.ended", "call.updated")},
    settings=OdooSettings,
    sealed="key",
    account="database",
    sender=OdooSender,
    ordered_by_caller=True,
)
