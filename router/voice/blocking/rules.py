"""Which calls are not put through: patterns of callers, and a project's guard, which is ready for answers. Pure rules: what is compiled
is compiled when a snapshot is loaded, and no statement is needed for an answer."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import phonenumbers

from router.carriers.base import HangUp, InboundCall, Plan, Reject, Say
from router.lib.phones import (
    BadPhone,
    Caller,
    international,
    is_withheld,
    line_of,
    read_caller,
    read_phone,
    spellings_of_line,
    user_part,
)

LONGEST_PATTERN = 100
MOST_ENTRIES, MOST_PATTERNS = 2000, 200
"""Of one project: lines, and those of them with a star."""
FEWEST_DIGITS = 3
"""Of a pattern that does not begin with a country code: with fewer it would be about too many callers."""

SEPARATORS = re.compile(r"[\s().\-‐-―−/]+")
NUMBER_PATTERN = re.compile(r"\+?[0-9*]+", re.ASCII)
SIP_PATTERN = re.compile(r"sips?:[a-z0-9._+\-*]{1,64}@[a-z0-9.\-*]{1,80}", re.ASCII)

WITHHELD, FAILED_VERIFICATION, LISTED = "withheld", "failed_verification", "listed"
CALLER_LIMIT, NUMBER_LIMIT = "caller_limit", "number_limit"

BUSY, NOT_IN_SERVICE, SENTENCE = "busy", "not_in_service", "sentence"
"""What a blocked caller hears."""


def parse_pattern(text: str, country: str) -> str:
    """Whom an entry of the list is about, as it is stored: a number in E.164 (`+493012345678`); a pattern, in which `*` stands for any
    digits (`+4930*`, `*0000`); or a SIP address, with stars too (`sip:*@spam.example`).

    Args:
        country: reads what was typed in a national form.

    Raises:
        BadPhone: it is none of them, or about too many callers.
    """
    typed = text.strip()
    shown = typed[:40]
    if typed.casefold().startswith(("sip:", "sips:")):
        address = typed.casefold()
        if not SIP_PATTERN.fullmatch(address) or not re.search(r"[a-z0-9]", address.partition(":")[2]):
            raise BadPhone(f"“{shown}” is not a SIP address like sip:anna@pbx.example.com or sip:*@pbx.example.com.")
        return address
    if "*" not in typed:
        try:
            return read_phone(typed, country)
        except BadPhone:
            called = read_caller(typed) if typed.startswith("+") else None
            if called is None or called.e164 is None:
                raise
            return called.e164
    pattern = re.sub(r"\*+", "*", SEPARATORS.sub("", typed.replace("(0)", "")))
    if not NUMBER_PATTERN.fullmatch(pattern) or len(pattern) > 20:
        raise BadPhone(f"“{shown}” is not a pattern like +4930* or *0000: write digits, and * for any others.")
    if pattern.startswith("00"):
        pattern = f"+{pattern[2:]}"
    elif not pattern.startswith(("+", "*")):
        code = phonenumbers.country_code_for_region(country)
        if not code:
            raise BadPhone(f"“{shown}” needs its country code: write it with +, like +4930*.")
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(country, None)
        trunk = (metadata and metadata.national_prefix) or ""
        pattern = f"+{code}{pattern.removeprefix(trunk)}"
    digits = sum(sign.isdigit() for sign in pattern)
    if digits < (1 if pattern.startswith("+") else FEWEST_DIGITS) or pattern.startswith("+*"):
        raise BadPhone(f"“{shown}” is about nearly everybody: write a country code, like +882*, or more digits.")
    return pattern


def shown_pattern(pattern: str) -> str:
    """As people read it."""
    return international(pattern) if pattern.startswith("+") and "*" not in pattern else pattern


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why a call is not put through. `entry`: the entry of the list, as it is stored; empty: it is not by the list."""

    because: str
    entry: str = ""


BECAUSE = {
    WITHHELD: "the number was withheld",
    FAILED_VERIFICATION: "the number was forged, as the carrier says (STIR/SHAKEN)",
    CALLER_LIMIT: "the caller held too many other calls",
    NUMBER_LIMIT: "the number had too many other calls",
}


def because_words(because: str, entry: str) -> str:
    """Why a call was not put through, in words; `entry`: of the list, as people read it, empty when it is not known."""
    return BECAUSE.get(because, f"{entry or 'the caller'} was on the list of blocked callers")


class CallGuard:
    """What a project does not put through."""

    _patterns: list[tuple[str, re.Pattern[str]]]

    def __init__(
        self,
        entries: Collection[str] = (),
        *,
        withheld: bool = False,
        failed_verification: bool = False,
        answer: str = BUSY,
        sentence: str = "",
        per_caller: int = 0,
        per_number: int = 0,
    ) -> None:
        """
        Args:
            entries: of the list, as they are stored.
            answer: what a blocked caller hears, and the `sentence` if it is one.
            per_caller: so many calls one caller may hold at a time, to all numbers of the project; 0: any.
            per_number: so many calls one number takes at a time; 0: any.
        """
        self.values: dict[str, Any] = {
            "entries": sorted(entries),
            "withheld": withheld,
            "failed_verification": failed_verification,
            "answer": answer,
            "sentence": sentence,
            "per_caller": per_caller,
            "per_number": per_number,
        }
        """What `CallGuard(**values)` is made of, for a file."""
        patterns = [entry for entry in self.values["entries"] if "*" in entry or not entry.startswith("+")]
        self._lines = frozenset(line_of(entry) for entry in entries if "*" not in entry and entry.startswith("+"))
        self._patterns = [(entry, re.compile(".*".join(map(re.escape, entry.split("*"))))) for entry in patterns]
        # most patterns are a beginning or an end, which is found in a row of a thousand as fast as in one of ten
        self._beginnings = tuple(entry[:-1] for entry in patterns if "*" not in entry[:-1] and entry.endswith("*"))
        self._ends = tuple(entry[1:] for entry in patterns if "*" not in entry[1:] and entry.startswith("*"))
        others = [
            each.pattern
            for entry, each in self._patterns
            if entry.count("*") != 1 or not (entry.startswith("*") or entry.endswith("*"))
        ]
        self._others = re.compile("|".join(f"(?:{pattern})" for pattern in others)) if others else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CallGuard) and other.values == self.values

    def __hash__(self) -> int:
        return hash(str(self.values))

    def __repr__(self) -> str:
        return f"CallGuard({self.values})"

    @property
    def per_caller(self) -> int:
        return int(self.values["per_caller"])

    @property
    def per_number(self) -> int:
        return int(self.values["per_number"])

    @property
    def limits_calls(self) -> bool:
        """Whether it matters how many calls are open."""
        return bool(self.per_caller or self.per_number)

    def why_blocked(self, call: InboundCall) -> Blocked | None:
        """Why this caller is not put through, by what the carrier says of him; None: he is."""
        if call.caller.e164 is None and self.values["withheld"] and is_withheld(user_part(call.caller.raw)):
            return Blocked(WITHHELD)
        if self.values["failed_verification"] and call.failed_verification:
            return Blocked(FAILED_VERIFICATION)
        entry = self.entry_of(call.caller)
        return Blocked(LISTED, entry) if entry else None

    def entry_of(self, caller: Caller) -> str:
        """The entry of the list that a caller is on; empty: he is on none."""
        if caller.e164 is not None and line_of(caller.e164) in self._lines:
            return caller.e164
        if not self._patterns:
            return ""
        names = (*spellings_of_line(caller.e164),) if caller.e164 else ()
        if "@" in caller.raw:
            names += (caller.raw.strip("<> ").casefold(),)
        for name in names:
            is_met = name.startswith(self._beginnings) or name.endswith(self._ends)
            if is_met or (self._others is not None and self._others.fullmatch(name)):
                return next((entry for entry, pattern in self._patterns if pattern.fullmatch(name)), "")
        return ""

    def blocked_flow(self, blocked: Blocked) -> dict[str, Any]:
        """The document that a call keeps that was not put through: nobody is rung. Who holds too many calls hears that it is busy."""
        is_limit = blocked.because in (CALLER_LIMIT, NUMBER_LIMIT)
        answer = BUSY if is_limit else self.values["answer"]
        flow: dict[str, Any] = {"destinations": []}
        pattern = (
            blocked.entry if "*" in blocked.entry else ""
        )  # an entry without a star is the caller's number, which may be forgotten
        flow["blocked"] = {"because": blocked.because, "pattern": pattern, "answer": answer}
        if answer == SENTENCE:
            flow["announcement"] = self.values["sentence"]
        return flow


OPEN_TO_ALL = CallGuard()
"""Nobody is blocked."""


def blocked_plan(flow: Mapping[str, Any]) -> Plan:
    """What a blocked caller hears, by the document of his call."""
    if announcement := flow.get("announcement"):
        return Say(announcement), HangUp()
    return (Reject(busy=flow["blocked"]["answer"] == BUSY),)


def guard_of(values: Any, entries: Iterable[str]) -> CallGuard:
    """A project's guard. `values` has the project's columns."""
    return CallGuard(
        tuple(entries),
        withheld=values.block_withheld,
        failed_verification=values.block_failed_verification,
        answer=values.blocked_answer,
        sentence=values.blocked_sentence,
        per_caller=values.calls_per_caller,
        per_number=values.calls_per_number,
    )
