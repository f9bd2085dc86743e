"""The wizard's fields and the members of the document that they stand for."""

import pytest

from router.lib.formats import parse_money
from router.scenarios.wizard.forms import ScenarioForms


@pytest.mark.parametrize(
    ("field", "element"),
    [
        ("title", "title"),
        ("numbers.3", "numbers"),
        ("own.1", "own"),
        ("flow.destinations", "destinations.0.to"),
        ("flow.destinations.1.ring_seconds", "destinations.2.ring_seconds"),
        ("channels.0.match.campaign", "channels.1.campaign"),
        ("channels.0.number", "channels.1.gets"),
        ("tagging.selectors.4", "tagging.selectors"),
        ("terms.only_sources.0", "terms.only_sources"),
        ("upkeep.spending_limit_minor", "upkeep.spending_limit"),
        ("to_buy", "to_buy.count"),
        ("integrations.ga4.measurement_id", "integrations.ga4.measurement_id"),
    ],
)
def test_every_field_of_the_document_has_its_element(field: str, element: str) -> None:
    """Rows that were left empty are in the form and not in the document."""
    empty = {"to": "", "source": "", "gets": ""}
    values = {
        "forwarding": {"destinations": [{"to": "a"}, empty, {"to": "b"}]},
        "channels": {"channels": [empty, {"source": "x", "gets": ""}]},
    }
    assert ScenarioForms(values).element_of(field) == element


def test_amounts_are_read_in_the_digits_of_their_currency() -> None:
    assert parse_money("25.50", "EUR") == 2550
    assert parse_money("25,5", "EUR") == 2550
    assert parse_money("25", "JPY") == 25
    for wrong in ("25.555", "1e999", "NaN", "much", "", "1_000", "1e3", "٣٠"):
        with pytest.raises(ValueError, match="Write an amount"):
            parse_money(wrong, "EUR")
