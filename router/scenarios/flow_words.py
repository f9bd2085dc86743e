"""What the steps of a call flow do, in words: for its picture, its list, and whoever plays it. Flows are told as they are typed, so that
half a flow can be told too."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from router.lib.phones import international
from router.scenarios.flows import DEFAULT_RING_SECONDS
from router.scenarios.opening_hours import DAYS

Step = Mapping[str, Any]
"""A step of a document, stored or typed."""

LONGEST_QUOTE = 80
DAY_NAMES = dict(zip(DAYS, ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), strict=True))
KINDS: dict[str, tuple[str, str]] = {
    "ring": ("Ring", "Lines of the company, in turn, at once or by shares"),
    "hours": ("Opening hours", "Other steps at other times, and on holidays"),
    "menu": ("Menu", "Callers press a key for the way they want"),
    "say": ("Say", "A text is read out"),
    "play": ("Play a sound", "An uploaded sound is played"),
    "voicemail": ("Voicemail", "Takes a message and mails it"),
    "press_key": ("Press a key to go on", "Keeps robots out"),
    "by_source": ("By marketing source", "Other steps for other sources and campaigns"),
    "by_caller": ("By first or repeat caller", "Other steps for whoever has called before"),
    "by_area": ("By area code", "Other steps for callers of some areas"),
    "ask": ("Ask an address", "Your own system says who is to be rung"),
    "hang_up": ("Hang up", "Ends the call"),
}
"""By type, in the order in which they are offered: the name of a step, and what it is for."""
ORDERS = {
    "in_turn": "Ring in turn",
    "at_once": "Ring at once",
    "round_robin": "Ring in turn, whoever is first by share",
}
LEFT_EMPTY = "not said yet"


@dataclass(frozen=True)
class ToldStep:
    """A step in words."""

    id: str
    kind: str
    title: str
    details: tuple[str, ...]
    branches: tuple["ToldBranch", ...]
    """Those that are shown, in the order in which they are tried."""
    then: str
    """How a call comes to what follows; empty: it does always, or never."""


@dataclass(frozen=True)
class ToldBranch:
    name: str
    """The place of its list in the step, like `keys.1`."""
    title: str
    steps: tuple[ToldStep, ...]
    empty: str
    """What happens when the branch has no steps."""


GOES_ON = "goes on below"


def told(steps: Sequence[Step]) -> tuple[ToldStep, ...]:
    return tuple(tell(step) for step in steps)


def tell(step: Step) -> ToldStep:
    kind = str(step.get("type") or "")
    title = KINDS.get(kind, (kind, ""))[0]
    if kind == "ring":
        lines = step.get("destinations") or ()
        title = ORDERS.get(str(step.get("order")), title) if len(lines) > 1 else title
    empty = "the call ends" if kind == "press_key" else GOES_ON
    branches = tuple(ToldBranch(name, title, told(inner), empty) for name, title, inner in _branches(step))
    then = {"ring": "nobody answers", "press_key": f"{step.get('key') or '1'} is pressed"}.get(kind, "")
    return ToldStep(str(step.get("id") or ""), kind, title, tuple(_details(step)), branches, then)


def quoted(text: Any) -> str:
    """The beginning of a text, in one line."""
    words = " ".join(str(text or "").split())
    if not words:
        return LEFT_EMPTY
    return f"“{words if len(words) <= LONGEST_QUOTE else words[: LONGEST_QUOTE - 1].rstrip() + '…'}”"


def prompt_words(prompt: Any) -> str:
    """What is heard, a text or a sound."""
    prompt = prompt or {}
    return f"sound {prompt['sound']}" if prompt.get("sound") else quoted(prompt.get("text"))


def line_words(line: Mapping[str, Any]) -> str:
    to = str(line.get("to") or "")
    if not to:
        return LEFT_EMPTY
    return international(to) if to.startswith("+") else to.removeprefix("sip:")


def times_words(times: Sequence[Mapping[str, Any]]) -> str:
    """Like `Mon–Fri 09:00–17:00, Sat 10:00–14:00`."""
    return (
        ", ".join(
            f"{days_words(each.get('days') or ())} {each.get('opens')}–{each.get('closes')}".strip() for each in times
        )
        or LEFT_EMPTY
    )


def days_words(days: Sequence[str]) -> str:
    """Days in a row as one, from the third on."""
    if set(days) >= set(DAYS):
        return "every day"
    runs: list[list[str]] = []
    for place, day in enumerate(DAYS):
        if day not in days:
            continue
        if runs and DAYS[place - 1] == runs[-1][-1]:
            runs[-1].append(day)
        else:
            runs.append([day])
    names = [[DAY_NAMES[day] for day in run] for run in runs]  # type: ignore[index]  # they are taken from DAYS
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(run) for run in names)


def source_words(match: Mapping[str, Any]) -> str:
    """Like `google / cpc`; a star for any."""
    parts = [str(match.get(name) or "*") for name in ("source", "medium", "campaign")]
    while len(parts) > 1 and parts[-1] == "*":
        parts.pop()
    return " / ".join(parts)


def _details(step: Step) -> Iterator[str]:
    match step.get("type"):
        case "say":
            yield quoted(step.get("text"))
        case "play":
            yield f"sound {step.get('sound') or LEFT_EMPTY}"
        case "ring":
            yield from _ring_details(step)
        case "menu" | "press_key":
            yield prompt_words(step.get("prompt"))
        case "voicemail" | "hang_up":
            if step.get("prompt"):
                yield prompt_words(step["prompt"])
            if step.get("busy"):
                yield "busy, when nothing was heard before"
            if step.get("type") == "voicemail":
                yield f"mailed to {', '.join(step.get('mail_to') or ()) or 'the project’s address'}"
        case "ask":
            yield str(step.get("url") or LEFT_EMPTY)


def _ring_details(step: Step) -> Iterator[str]:
    recording = step.get("recording")
    if recording and recording.get("announcement"):
        yield f"says {prompt_words(recording['announcement'])}"
    if step.get("returning_first"):
        yield "first whoever talked to this caller last"
    by_share = step.get("order") == "round_robin"
    for line in step.get("destinations") or ():
        share = f", share {line.get('weight') or 1}" if by_share else ""
        extension = f", then {line['extension']}" if line.get("extension") else ""
        yield f"{line_words(line)}, {line.get('ring_seconds') or DEFAULT_RING_SECONDS} s{share}{extension}"
    if step.get("whisper"):
        yield f"whispers {prompt_words(step['whisper'])}"
    if step.get("accept"):
        yield "takes the call with 1"
    if step.get("detect_machines"):
        yield "goes on when a voicemail answers"
    if recording:
        yield "is recorded"


def _branches(step: Step) -> Iterator[tuple[str, str, Sequence[Step]]]:
    """Name, title and steps of each."""
    otherwise = step.get("otherwise") or ()
    branches = [(f"branches.{place}.steps", branch) for place, branch in enumerate(step.get("branches") or ())]
    match step.get("type"):
        case "menu":
            for key, inner in (step.get("keys") or {}).items():
                yield f"keys.{key}", f"{key or '?'} is pressed", inner
            yield "no_input", "nothing is pressed", step.get("no_input") or ()
            yield "wrong_key", "another key is pressed", step.get("wrong_key") or ()
        case "press_key":
            yield "otherwise", "it is not pressed", otherwise
        case "hours":
            if step.get("holidays") is not None:
                yield "holidays", "holidays", step["holidays"]
            for name, branch in branches:
                yield name, times_words(branch.get("times") or ()), branch.get("steps") or ()
            yield "otherwise", "any other time", otherwise
        case "by_source":
            for name, branch in branches:
                yield name, source_words(branch.get("match") or {}), branch.get("steps") or ()
            yield "otherwise", "another source, or none", otherwise
        case "by_caller":
            yield "first", "first call", step.get("first") or ()
            yield "repeat", "has called before", step.get("repeat") or ()
            yield "otherwise", "not known", otherwise
        case "by_area":
            for name, branch in branches:
                yield name, ", ".join(branch.get("prefixes") or ()) or LEFT_EMPTY, branch.get("steps") or ()
            yield "otherwise", "another area, or withheld", otherwise
        case "ask":
            for name, inner in (step.get("answers") or {}).items():
                yield f"answers.{name}", f"answers “{name}”", inner
            yield "otherwise", "no such answer in time", otherwise


PASSED = {
    "menu": {"no_input": "pressed nothing", "wrong_key": "pressed a key that is not in the menu"},
    "hours": {"holidays": "called on a holiday", "otherwise": "called at any other time"},
    "by_source": {"otherwise": "came from another source, or from nowhere known"},
    "by_caller": {
        "first": "called for the first time",
        "repeat": "had called before",
        "otherwise": "could not be told apart from others",
    },
    "by_area": {"otherwise": "called from elsewhere"},
}
"""By type and branch: what a caller did who went there."""


def passed(step: Step, branch: str, answer: str | None, *, is_waiting: bool = False) -> str:
    """What a caller did at a step, as what follows *The caller*; empty for lines that ring.

    Args:
        branch: its name in the step, empty where the call went none.
        answer: of the address of the company; None: it was not asked for this.
        is_waiting: the caller is asked for a key.
    """
    kind, name, rest = step["type"], *branch.partition(".")[::2]
    if words := PASSED.get(kind, {}).get(name):
        return words
    chosen = step["branches"][int(rest.partition(".")[0])] if name == "branches" else {}
    match kind:
        case "say":
            return f"heard {quoted(step['text'])}"
        case "play":
            return f"heard the sound {step['sound']}"
        case "menu":
            return f"pressed {rest}" if branch else "was asked to press a key"
        case "press_key":
            done = "did not press" if branch else "was asked to press" if is_waiting else "pressed"
            return f"{done} {step['key']}"
        case "voicemail":
            return "was asked for a message"
        case "hours":
            return f"called in the opening hours {times_words(chosen.get('times') or ())}"
        case "by_source":
            return f"came from {source_words(chosen.get('match') or {})}"
        case "by_area":
            return f"called from {', '.join(chosen.get('prefixes') or ())}"
        case "ask" if answer is not None:
            host = urlsplit(step["url"]).hostname
            return f"went by the answer “{answer}” of {host}" if answer else f"had no answer of {host} in time"
        case "hang_up":
            return "was let go"
    return ""
