"""The example company: a bicycle shop that does not exist, with telephone numbers that are reserved for stories."""

from dataclasses import dataclass

NAME = "Alder Cycles"
COUNTRY = "US"
CURRENCY = "USD"
EMAIL = "sam@aldercycles.example"
OWNER = "Sam Alder"
COUNTER = "+14155550142"
"""The company's own number, as it stands on its pages."""
WORKSHOP = "+14155550187"
LINES = {COUNTER: "Counter", WORKSHOP: "Workshop"}
POOL = ("+14155550101", "+14155550102", "+14155550103", "+14155550104")
BILLBOARD, FLYER = "+14155550160", "+14155550161"
RING_SECONDS = 20


@dataclass(frozen=True)
class Bicycle:
    slug: str
    name: str
    line: str
    story: str
    price: str
    facts: tuple[str, ...]


BICYCLES = (
    Bicycle(
        "harbor",
        "Harbor",
        "An upright city bike for every day",
        "Eight gears in the hub, lights that need no battery and a rack that carries a crate of apples. We build each"
        " Harbor in the shop and fit it to you before you ride it home.",
        "$890",
        ("8-speed hub", "Hub dynamo lights", "14.6 kg", "Five sizes"),
    ),
    Bicycle(
        "ridge",
        "Ridge",
        "An e-bike that flattens the hills",
        "A quiet motor in the middle, where the weight belongs, and enough range for a week of commuting. The battery"
        " comes out with one hand.",
        "$2,450",
        ("95 km range", "Mid motor, 65 Nm", "21 kg", "Serviced by us for five years"),
    ),
    Bicycle(
        "meadow",
        "Meadow",
        "A light tourer for long Sundays",
        "Steel tubes, wide tires and mounts for everything you would like to take along. Comfortable after the first"
        " hour and after the eighth.",
        "$1,380",
        ("2 × 10 gears", "Steel frame", "11.9 kg", "Room for 45 mm tires"),
    ),
)


@dataclass(frozen=True)
class WayIn:
    """A link that brings another visitor, or the same one from elsewhere."""

    title: str
    query: str


WAYS_IN = (
    WayIn("Google Ads, campaign spring", "utm_source=google&utm_medium=cpc&utm_campaign=spring"),
    WayIn("Facebook, campaign e-bikes", "utm_source=facebook&utm_medium=paid_social&utm_campaign=e-bikes"),
    WayIn("Newsletter of April", "utm_source=newsletter&utm_medium=email&utm_campaign=april"),
    WayIn("Typed in the address", ""),
)
