"""The six steps of the wizard (R2), and which of them a field of a scenario's document belongs to."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """`decides` is the one sentence of the step; `default` says what holds when an optional one is left alone."""

    name: str
    title: str
    decides: str
    default: str = ""

    @property
    def optional(self) -> bool:
        return bool(self.default)

    @property
    def place(self) -> int:
        """1 to 6."""
        return NAMES.index(self.name) + 1


STEPS = (
    Step("numbers", "Numbers", "Which numbers visitors are shown, and how many there are."),
    Step("forwarding", "Forwarding", "Where calls to these numbers ring."),
    Step("tagging", "Tagging", "What is replaced on your pages, and how the number is written there."),
    Step(
        "channels",
        "Channels",
        "Which marketing sources get a number of each visit, and which one that never changes.",
        "Left as it is, every source gets dynamic numbers.",
    ),
    Step(
        "integrations",
        "Integrations",
        "Who is told about calls: your systems, analytics, the CRM.",
        "Left empty, calls are listed here and nobody is told.",
    ),
    Step(
        "terms",
        "Terms",
        "Which visitors are shown a number at all.",
        "Left empty, every visitor is.",
    ),
)
NAMES = [step.name for step in STEPS]
BY_NAME = {step.name: step for step in STEPS}
ANY = f"any({','.join(NAMES)})"
"""The URL converter of a step's name."""

_OF_MEMBER = {
    "flow": "forwarding",
    "tagging": "tagging",
    "channels": "channels",
    "static": "channels",
    "integrations": "integrations",
    "manager": "integrations",
    "terms": "terms",
}


def step_of(field: str) -> Step:
    """The step where a dotted field (`flow.destinations.0.to`) is typed; whatever stands on every step counts to the first."""
    return BY_NAME[_OF_MEMBER.get(field.split(".")[0], "numbers")]


def neighbour(step: Step, offset: int) -> Step | None:
    place = NAMES.index(step.name) + offset
    return STEPS[place] if 0 <= place < len(STEPS) else None
