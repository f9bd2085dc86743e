"""The sounds of a project as call flows name them: which there are, and which flows play one."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from router.lib.phones import international
from router.scenarios.models import CallFlow, Scenario, Sound, TrackingNumber


def sounds_of(session: Session, project_id: int) -> Sequence[Sound]:
    """Those that flows may play, by name."""
    present = select(Sound).where(Sound.project_id == project_id, Sound.retired_at.is_(None))
    return session.scalars(present.order_by(func.lower(Sound.name))).all()


def sound_names(session: Session, project_id: int) -> Collection[str]:
    return {sound.name for sound in sounds_of(session, project_id)}


def sounds_in(flow: Mapping[str, Any] | None) -> set[str]:
    """The names of the sounds that a stored flow plays, in either form. Flows of every release can be read."""

    def within(value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            if isinstance(name := value.get("sound"), str):
                yield name
            for inner in value.values():
                yield from within(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from within(inner)

    return set(within(flow))


def players_of(session: Session, project_id: int) -> dict[str, list[str]]:
    """By the name of a sound, who plays it now: `the scenario “Shop”`, or `the number +49 …` that has none and goes by its last flow."""
    scenarios = (
        select(Scenario.title, CallFlow.document)
        .join(CallFlow, CallFlow.id == Scenario.call_flow_id)
        .where(Scenario.project_id == project_id, Scenario.deleted_at.is_(None))
    )
    numbers = (
        select(TrackingNumber.e164, CallFlow.document)
        .join(CallFlow, CallFlow.id == TrackingNumber.last_flow_id)
        .where(TrackingNumber.project_id == project_id, TrackingNumber.scenario_id.is_(None))
    )
    flows = [(f"the scenario “{title}”", document) for title, document in session.execute(scenarios)]
    flows += [(f"the number {international(e164)}", document) for e164, document in session.execute(numbers)]
    players: dict[str, list[str]] = defaultdict(list)
    for player, document in flows:
        for name in sounds_in(document):
            players[name].append(player)
    return players
