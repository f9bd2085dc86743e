"""Documents of scenarios, whatever somebody sends."""

import contextlib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from router.accounts.audit import Change
from router.accounts.models import Project
from router.integrations.settings import IntegrationsPart
from router.scenarios.documents import present_scenarios
from router.scenarios.schema import parse_scenario
from router.scenarios.service import create_scenario, delete_scenario
from router.server import Server
from router.web.errors import Problem, Refused
from tests.factories import NOON
from tests.properties import examples
from tests.scenarios.names import ALICE, FIRST, LINE

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
junk = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))
documents = st.fixed_dictionaries(
    {},
    optional={
        "title": st.just("Spring") | junk,
        "enabled": st.booleans() | junk,
        "numbers": st.lists(st.just(FIRST) | junk, max_size=3) | junk,
        "static": st.dictionaries(st.just(FIRST) | st.text(max_size=5), st.just({"source": "x"}) | junk) | junk,
        "flow": st.fixed_dictionaries({"destinations": st.lists(st.just({"to": LINE}) | junk, max_size=3)}) | junk,
        "tagging": st.fixed_dictionaries({}, optional={"selectors": st.lists(st.text(max_size=9)), "format": junk}),
        "aim": st.just("source") | junk,
        "integrations": st.fixed_dictionaries({}, optional={"crm": junk, "webhook_end": junk}) | junk,
        "channels": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "match": st.dictionaries(st.sampled_from(["source", "medium", "keyword"]), leaves),
                    "kind": st.sampled_from(["static", "dynamic"]) | junk,
                    "number": st.just(FIRST) | junk,
                },
            )
            | junk,
            max_size=3,
        )
        | junk,
        "terms": st.dictionaries(st.sampled_from(["only_sources", "excluded_regions", "x"]), st.lists(leaves)) | junk,
        "upkeep": st.dictionaries(st.sampled_from(["on", "max_numbers", "spending_limit_minor"]), leaves) | junk,
        "to_buy": st.dictionaries(st.sampled_from(["numbers", "count", "country", "contains"]), leaves) | junk,
        "manager": st.just("bob") | junk,
        "surprise": junk,
    },
)


@given(documents)
@settings(max_examples=examples(200))
def test_every_document_can_be_read_or_each_bad_field_is_named(document: dict[str, Any]) -> None:
    shape, errors = parse_scenario(document)
    assert shape.title
    assert all(field.split(".")[0] in {*document, "title"} and sentence for field, sentence in errors.items())


@given(documents)
@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_sent_is_stored_or_refused(server: Server, project: Project, document: dict[str, Any]) -> None:
    server.scenario_parts.clear()
    server.scenario_parts.append(IntegrationsPart(server))
    with server.database.writing() as session, contextlib.suppress(Refused, Problem):
        create_scenario(Change(session, server, project, ALICE, NOON), _storable(document))
    with server.database.writing() as session:
        for scenario in session.scalars(present_scenarios(project.id)):
            delete_scenario(
                Change(session, server, project, ALICE, NOON), scenario.id
            )  # so that its number is free again


def _storable(value: Any) -> Any:
    """What the reader of a body leaves of a text: no NUL, no lone surrogates."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "ignore").decode()
    if isinstance(value, list):
        return [_storable(one) for one in value]
    if isinstance(value, dict):
        return {_storable(name): _storable(one) for name, one in value.items()}
    return value
