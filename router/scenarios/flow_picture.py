"""The picture of a call flow: where boxes, branches and the lines between them stand. Pure geometry; the template draws it.

The flow goes down. A branch stands to the right of the line that goes on past it, so that the picture is as wide as it is told to be,
however many branches there are."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from router.scenarios.flow_words import ToldBranch, ToldStep

WIDTH = 288
INDENT = 18
RAIL = 9
"""From the left edge of a box to the line that goes down from it."""
PADDING = 8
LINE = 17
GAP = 12
NARROWEST = 110
"""Of a box: from this depth on branches go no further to the right."""


@dataclass(frozen=True)
class Words:
    x: int
    y: int
    """Of the base line."""
    text: str
    kind: str
    """title, detail, heading or quiet."""


@dataclass(frozen=True)
class Box:
    x: int
    y: int
    width: int
    height: int
    kind: str
    """The type of the step."""
    id: str


@dataclass
class Picture:
    """In pixels, from the upper left corner."""

    width: int = WIDTH
    height: int = 0
    boxes: list[Box] = field(default_factory=list)
    words: list[Words] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """Paths of SVG."""


def draw(steps: Sequence[ToldStep]) -> Picture:
    picture = Picture()
    bottom = _draw_steps(picture, steps, 1, 1)
    picture.lines.append(f"M{1 + RAIL} {bottom}V{bottom + GAP}")
    picture.words.append(Words(1, bottom + GAP + LINE - 2, "The call ends", "quiet"))
    picture.height = bottom + GAP + LINE + 4
    return picture


def _draw_steps(picture: Picture, steps: Sequence[ToldStep], x: int, y: int) -> int:
    """Draws steps below each other, from (x, y) on; where the last of them ends."""
    ends: list[tuple[int, int]] = []
    last = 0
    """Where the line to the last branch leaves the line that goes down."""
    for place, step in enumerate(steps):
        top, base, width = y, y + PADDING + 12, WIDTH - x - 1
        for kind, text in (("title", step.title), *(("detail", detail) for detail in step.details)):
            for line in wrapped(text, width - 2 * PADDING, bold=kind == "title"):
                picture.words.append(Words(x + PADDING, base, line, kind))
                base += LINE
        below = y = base - LINE + PADDING + 4
        picture.boxes.append(Box(x, top, width, below - top, step.kind, step.id))
        for branch in step.branches:
            last = y + GAP // 2 + LINE // 2 - 4
            y = _draw_branch(picture, branch, x, y)
        if place < len(steps) - 1 and step.then:
            picture.words.append(Words(x + INDENT, y + LINE, step.then, "quiet"))
            y += LINE
        ends.append((top, below))
        if place < len(steps) - 1:
            y += GAP
    for (_, below), (top, _) in pairwise(ends):
        picture.lines.append(f"M{x + RAIL} {below}V{top}")
    if steps and steps[-1].branches:  # nothing of this list follows
        picture.lines.append(f"M{x + RAIL} {ends[-1][1]}V{y if x == 1 else last}")
    return y


def _draw_branch(picture: Picture, branch: ToldBranch, x: int, y: int) -> int:
    inner = x + INDENT if WIDTH - x - INDENT > NARROWEST else x
    room = WIDTH - inner - 4
    y += GAP // 2
    heading = branch.title if branch.steps else f"{branch.title}: {branch.empty}"
    leaves = y + LINE // 2 - 4
    for line in wrapped(heading, room, bold=True):
        y += LINE
        picture.words.append(Words(inner + 4, y - 2, line, "heading"))
    picture.lines.append(f"M{x + RAIL} {leaves}q0 6 6 6H{inner + 1}")
    return _draw_steps(picture, branch.steps, inner, y + 4) if branch.steps else y


NARROW = frozenset("iljtfrI.,:;'!|()[] /-‘’")
WIDE = frozenset("mwMWQOD@%—…&+<>")


def _width_of(text: str, bold: bool) -> float:
    """About as many pixels as a text of 13 pixels takes in the widest font that systems have, so that it stays in its box."""
    width = 0.0
    for sign in text:
        if unicodedata.east_asian_width(sign) in "WF":
            width += 14
        elif sign in NARROW:
            width += 5.2
        elif sign in WIDE:
            width += 12.4
        else:
            width += 9.1 if sign.isupper() else 8.1
    return width * (1.12 if bold else 1)


def wrapped(text: str, room: float, *, bold: bool = False) -> list[str]:
    """The text in lines of at most `room` pixels; what has no space is broken anywhere."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if _width_of(longer, bold) <= room:
            line = longer
            continue
        if line:
            lines.append(line)
        line = ""
        for sign in word:
            if line and _width_of(line + sign, bold) > room:
                lines.append(line)
                line = ""
            line += sign
    return [*lines, line] if line or not lines else lines
