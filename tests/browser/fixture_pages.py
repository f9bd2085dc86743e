"""Pages as found in the wild, in the folder `fixtures`. Each begins with a comment in TOML:

says      the sentence that it proves
numbers   what the server gives out: {scenario, e164, finds, country, selectors, form}; absent: one number in place of (415) 555-2671
changes   every text and link on the page that changes: [before, after]; nothing else may
requests  the page views that go out: a part of each body; absent: one, of which nothing is said
steps     what happens then: `do` (a script) or `numbers` (other numbers with the next sign of life), and all `changes` afterwards
query     of the page's address
still     true: nothing moves (a layout shift of 0)
refused   true: the server answers 403
charset   of the file as it is served
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from router.attribution.tag import TagOptions
from router.lib.phones import spellings
from tests.browser.stub import Site, Stub, number

FOLDER = Path(__file__).parent / "fixtures"
HEADER = re.compile(r"<!--\n(.*?)-->\n", re.DOTALL)
PLAIN: list[dict[str, Any]] = [{"finds": ["(415) 555-2671"]}]

# Everything that a page says or holds, element by element: attributes, own text, what stands in form fields, comments.
SNAPSHOT = """() => {
    const said = [];
    const childNodes = Object.getOwnPropertyDescriptor(Node.prototype, 'childNodes').get; // which a form's field may cover
    const children = (element, type) => [...childNodes.call(element)].filter(({nodeType}) => nodeType === type);
    const squeezed = (text) => text.replace(/[ \\n\\t]+/g, ' ').trim();
    const look = (root) => root.querySelectorAll('*').forEach((element) => {
        if (element.localName === 'script' && element.src) return;
        [...element.attributes].forEach(({name, value}) => name === 'srcdoc' || said.push(name + '=' + value));
        said.push(squeezed(children(element, 3).map(({data}) => data).join('')));
        children(element, 8).forEach(({data}) => said.push(data));
        if ('value' in element) said.push(String(element.value));
        if (element.content instanceof DocumentFragment) look(element.content);
    });
    look(document);
    return said;
}"""
FRAMES_PASS = "new Promise((passed) => requestAnimationFrame(() => requestAnimationFrame(passed)))"


@dataclass(frozen=True)
class Step:
    changes: list[list[str]]
    do: str = ""
    numbers: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Fixture:
    html: str
    says: str
    changes: list[list[str]]
    numbers: list[dict[str, Any]] = field(default_factory=lambda: PLAIN)
    requests: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    steps: list[dict[str, Any]] = field(default_factory=list)
    query: str = ""
    still: bool = False
    refused: bool = False
    charset: str = "utf-8"

    @property
    def given(self) -> list[dict[str, Any]]:
        return [given(one) for one in self.numbers]

    @property
    def options(self) -> TagOptions:
        return TagOptions(old_pages=any("suffixes" in one for one in self.numbers))

    @property
    def all_steps(self) -> list[Step]:
        return [Step(**one) for one in self.steps]

    def put(self, site: Site, stub: Stub, *, tagged: bool = True) -> str:
        """The page's address, with the tag or with an empty script in its place."""
        stub.options = self.options
        site.pages["/none.js"], site.types["/none.js"] = b"", "text/javascript"
        html = self.html.replace("{tag}", site.tag if tagged else "/none.js").replace("{server}", stub.base)
        site.pages["/"], site.types["/"] = html.encode(self.charset), f"text/html; charset={self.charset}"
        return site.origin + "/" + self.query


def fixture(name: str) -> Fixture:
    text = (FOLDER / f"{name}.html").read_text("utf-8")
    header = HEADER.match(text)
    assert header, f"{name}.html begins with no header"
    return Fixture(text[header.end() :], **tomllib.loads(header[1]))


def given(told: dict[str, Any]) -> dict[str, Any]:
    """A number of a header as the server gives it out."""
    more = {name: value for name, value in told.items() if name not in ("finds", "country")}
    if "finds" in told:
        more["replace"] = spellings(told["finds"], told.get("country", "US"))
    if "suffixes" in told:
        more |= {"scenario": None, "spellings": []}
    return number(**more)


def snapshot(page: Page) -> list[str]:
    return [one for frame in page.frames for one in frame.evaluate(SNAPSHOT)]


def changes(before: list[str], after: list[str]) -> list[list[str]]:
    """What was said before and after, wherever that differs; the elements must be the same."""
    assert len(before) == len(after), f"The page is built otherwise now: {before} {after}"
    return [[old, new] for old, new in zip(before, after, strict=True) if old != new]
