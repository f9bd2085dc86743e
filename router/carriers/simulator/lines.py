"""What people do in a simulated call: the company's lines, the caller, and how reliably the carrier reports it."""

from dataclasses import dataclass
from typing import Literal

Answer = Literal["answers", "busy", "rings", "fails"]


@dataclass(frozen=True)
class Line:
    """What a destination does when it is rung. Seconds count from the moment it is rung.

    `talks` is how long it stays on the line before it hangs up, None: until the caller does. `digits` is what it presses when it
    is asked while a whisper is played; `hears_out=False` hangs up during the whisper. An `interactive` line waits for a person's buttons.
    """

    answer: Answer
    after: float = 5.0
    talks: float | None = 60.0
    digits: str = ""
    hears_out: bool = True
    interactive: bool = False

    @classmethod
    def answers(cls, after: float = 5.0, talks: float | None = 60.0, digits: str = "") -> "Line":
        return cls("answers", after, talks, digits)

    @classmethod
    def voicemail(cls, after: float = 20.0, seconds: float = 30.0) -> "Line":
        """A machine answers: from outside it looks like a person who does."""
        return cls("answers", after, seconds)

    @classmethod
    def is_busy(cls, after: float = 2.0) -> "Line":
        return cls("busy", after)

    @classmethod
    def rings_out(cls) -> "Line":
        return cls("rings")

    @classmethod
    def fails(cls, after: float = 1.0) -> "Line":
        return cls("fails", after)

    @classmethod
    def by_hand(cls) -> "Line":
        return cls("rings", talks=None, interactive=True)


@dataclass(frozen=True)
class CallerScript:
    """What the caller does: `gives_up_after` seconds unless somebody was connected by then; hangs up after `talks` seconds of talking.

    `digits` are pressed when a menu asks; `message` is how many seconds are spoken on a voicemail.
    """

    gives_up_after: float | None = None
    talks: float | None = None
    digits: str = ""
    message: float = 10.0


@dataclass(frozen=True)
class Ways:
    """How the carrier behaves. Callbacks come `late` by so many seconds, `twice`, or in `disorder` (all at the end, last first).

    With `twice` every document is asked for twice as well. `abandoned` is the parent's state when the caller gives up.
    """

    late: float = 0.0
    twice: bool = False
    disorder: bool = False
    action_after_hang_up: bool = True
    abandoned: str = "no-answer"
    ring_buffer: float = 5.0
    """Twilio rings about five seconds longer than it was told."""
