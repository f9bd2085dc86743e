"""Random call flows of every step, nested, as an admin's document."""

import json
from typing import Any

from hypothesis import strategies as st

from router.scenarios.flow_document import LARGEST_DOCUMENT

Strategy = st.SearchStrategy[Any]

LINES = ("+4930123456", "+14155550100", "+442071838750", "sip:sales@pbx.example.com", "sip:+4989123456@pbx.example.com")
SENTENCES = st.sampled_from(["Hello.", "Käse & <Brot>", "x" * 1000, "&" * 1000, "😀" * 1000])
KEYS = st.sampled_from("0123456789*#")
SOUNDS = st.sampled_from(["welcome", "lost"])
CLOCKS = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 29))
LATER_CLOCKS = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(30, 59))
DAYS = st.lists(st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]), min_size=1, max_size=7)
WITH_PLACEHOLDERS = st.sampled_from(
    ["A call from {source}.", "{visit} {campaign} {caller}", "Plain.", "{number}{medium}"]
)


def optional(needed: dict[str, Strategy], others: dict[str, Strategy]) -> Strategy:
    return st.fixed_dictionaries(needed, optional=others)


speech = {"language": st.sampled_from(["de-DE", "en"]), "voice": st.sampled_from(["woman", "Polly.Vicki"])}
prompts = optional({"text": SENTENCES}, speech) | st.fixed_dictionaries({"sound": SOUNDS})
asked = {"tries": st.integers(1, 5), "seconds": st.integers(1, 30)}


def destinations(lines: tuple[str, ...]) -> Strategy:
    number = optional(
        {"to": st.sampled_from([line for line in lines if line.startswith("+")])},
        {
            "ring_seconds": st.integers(5, 600),
            "weight": st.integers(1, 100),
            "extension": st.sampled_from(["", "ww1#"]),
        },
    )
    sip = optional(
        {"to": st.sampled_from([line for line in lines if line.startswith("sip")])},
        {
            "ring_seconds": st.integers(5, 600),
            "headers": st.dictionaries(st.sampled_from(["X-Visit", "User-to-User"]), WITH_PLACEHOLDERS),
            "transport": st.sampled_from(["", "udp", "tls"]),
            "region": st.sampled_from(["", "ie1"]),
        },
    )
    return st.lists(number | sip, min_size=1, max_size=10)


def ring_steps(lines: tuple[str, ...]) -> Strategy:
    recording = optional({"announcement": prompts}, {"channels": st.sampled_from(["dual", "mixed"])})
    members = {
        "order": st.sampled_from(["in_turn", "at_once", "round_robin"]),
        "returning_first": st.booleans(),
        "whisper": optional({"text": WITH_PLACEHOLDERS}, speech),
        "recording": recording,
    }
    needed = {"type": st.just("ring"), "destinations": destinations(lines)}
    without = {"type": st.just("ring"), "destinations": destinations(lines).map(_without_extensions)}
    return optional(needed, members | {"accept": st.sampled_from([True, True, False])}) | optional(
        without, members | {"detect_machines": st.sampled_from([True, True, False])}
    )


def _without_extensions(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name != "extension"} for line in lines]


def flat_steps(lines: tuple[str, ...]) -> Strategy:
    end = optional(
        {"type": st.just("voicemail")},
        {"prompt": prompts, "longest_seconds": st.integers(5, 600), "silence_seconds": st.integers(2, 30)},
    ) | optional({"type": st.just("hang_up")}, {"prompt": prompts, "busy": st.booleans()})
    heard = optional({"type": st.just("say"), "text": SENTENCES}, speech) | st.fixed_dictionaries(
        {"type": st.just("play"), "sound": SOUNDS}
    )
    return one_of_alike(heard, ring_steps(lines), end)


def one_of_alike(*strategies: Strategy) -> Strategy:
    """One of them, each as often, however many choices it has itself."""
    return st.sampled_from(range(len(strategies))).flatmap(lambda place: strategies[place])


def branching_steps(inner: Strategy) -> Strategy:
    times = st.fixed_dictionaries({"days": DAYS, "opens": CLOCKS, "closes": LATER_CLOCKS})
    hours = st.fixed_dictionaries({"times": st.lists(times, min_size=1, max_size=3), "steps": inner})
    match = optional(
        {}, {"source": st.sampled_from(["google", "*", "b*"]), "campaign": st.sampled_from(["spring", "*"])}
    )
    prefixes = st.lists(st.sampled_from(["+49 30", "+1", "+44"]), min_size=1, max_size=2)
    otherwise = {"otherwise": inner}
    return (
        optional(
            {"type": st.just("menu"), "prompt": prompts, "keys": st.dictionaries(KEYS, inner, min_size=1, max_size=3)},
            asked | {"no_input": inner, "wrong_key": inner},
        )
        | optional({"type": st.just("press_key"), "prompt": prompts}, asked | otherwise | {"key": KEYS})
        | optional(
            {"type": st.just("hours"), "branches": st.lists(hours, min_size=1, max_size=3)},
            otherwise | {"holidays": inner},
        )
        | optional(
            {
                "type": st.just("by_source"),
                "branches": st.lists(st.fixed_dictionaries({"match": match, "steps": inner}), min_size=1, max_size=3),
            },
            otherwise,
        )
        | optional({"type": st.just("by_caller")}, {"first": inner, "repeat": inner} | otherwise)
        | optional(
            {
                "type": st.just("by_area"),
                "branches": st.lists(
                    st.fixed_dictionaries({"prefixes": prefixes, "steps": inner}), min_size=1, max_size=2
                ),
            },
            otherwise,
        )
        | optional(
            {"type": st.just("ask"), "url": st.just("https://crm.example.com/who")},
            {"answers": st.dictionaries(st.sampled_from(["vip", "late"]), inner), "ring_seconds": st.integers(5, 60)}
            | otherwise,
        )
    )


def step_lists(lines: tuple[str, ...], depth: int, fewest: int = 0) -> Strategy:
    """Lists of steps that hold lists of steps, so many within each other."""
    flat = flat_steps(lines)
    if depth == 1:
        return st.lists(flat, min_size=fewest, max_size=2)
    branching = branching_steps(step_lists(lines, depth - 1))
    return st.lists(one_of_alike(flat, branching, branching), min_size=fewest, max_size=3)


def full_flows(lines: tuple[str, ...] = LINES, depth: int = 3) -> Strategy:
    """Documents of steps. `lines`: what may ring, numbers and SIP addresses."""
    return st.fixed_dictionaries({"steps": step_lists(lines, depth, fewest=2)}).filter(can_be_stored)


def can_be_stored(document: dict[str, Any]) -> bool:
    return len(json.dumps(document, ensure_ascii=False).encode()) <= LARGEST_DOCUMENT


def flows(lines: tuple[str, ...] = LINES) -> Strategy:
    """Documents of either form."""
    short = st.lists(
        optional({"to": st.sampled_from(lines)}, {"ring_seconds": st.integers(5, 600)}), min_size=1, max_size=10
    )
    return one_of_alike(full_flows(lines), full_flows(lines), st.fixed_dictionaries({"destinations": short}))
