"""Google Analytics 4: a call counts as an event of the visitor."""

from router.integrations.base import Slot, Vendor
from router.integrations.ga4.sender import LONGEST_BACKDATE, Ga4Sender
from router.integrations.ga4.settings import Ga4Settings

SLOT = Slot(
    name="ga4",
    title="Google Analytics",
    heading="Google Analytics 4",
    preview="Google Analytics counts an event for the visitor",
)
GA4 = Vendor(
    kind="ga4",
    name="Google Analytics",
    events={SLOT: ("call.ended",)},
    settings=Ga4Settings,
    sealed="api_secret",
    address="endpoint",
    account="measurement_id",
    decides="measurement_id",
    sender=Ga4Sender,
    lifetime=LONGEST_BACKDATE,
)
