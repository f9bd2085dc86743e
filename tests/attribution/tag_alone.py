"""The whole tag as a browser gets it, in node: what it asks of the server on a page, and which numbers it has for that page.

For tables that would need one page load in a browser for each row. There is nothing of the page to change here: that is what the browser's
tests look at.
"""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from router.attribution.tag import TagOptions, tag_script
from router.lib.phones import page_rules
from tests.attribution.tag_modules import NODE
from tests.browser.stub import KEY, number

SERVER = "https://calls.example.net"
ADDRESS = "https://www.shop.example/"
LENT = "+14155550123"
VISIT = {
    "visit": 10001,
    "visitor": "v1sitor",
    "token": "t1",
    "alive_every": 45,
    "numbers": [number(e164=LENT)],
    "rules": page_rules(None),
}

# One world for each page. Its document is never ready to be changed; a timer that is not due at once is never due.
STAGE = """
const vm = require("vm");
const { pages } = JSON.parse(require("fs").readFileSync(0, "utf-8"));
const settled = async () => { for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate); };

const visited = async (given) => {
  const requests = [], listeners = [], jar = new Map(Object.entries(given.cookies)), storage = { ...given.storage };
  const document = {
    currentScript: { src: given.src, dataset: given.attributes },
    referrer: "", readyState: "loading", hidden: false,
    get cookie() { return [...jar].map(([name, value]) => name + "=" + value).join("; "); },
    set cookie(text) {
      const [, name, value, seconds, domain] = /^(.*?)=(.*?); path=\\/; max-age=(\\d+); SameSite=Lax; domain=([^;]*)/.exec(text);
      if (!domain.includes(".")) return; // such as browsers refuse
      if (+seconds) jar.set(name, value);
      else jar.delete(name);
    },
  };
  const world = vm.createContext({
    URL, document, localStorage: storage, location: new URL(given.address), isSecureContext: true,
    performance: { timing: { domContentLoadedEventStart: 0 } },
    navigator: { webdriver: given.webdriver, globalPrivacyControl: given.privacy_control || undefined, sendBeacon() {} },
    navigation: { addEventListener: (event, listener) => listeners.push(listener) },
    MutationObserver: class { observe() {} takeRecords() { return []; } },
    addEventListener() {}, clearTimeout() {},
    setTimeout: (action, pause) => { if (!pause) setImmediate(action); },
    fetch: async (url, { body }) => {
      requests.push({ url, body: JSON.parse(body) });
      return new Response(given.answer, { status: 201 });
    },
  });
  world.window = world;
  vm.runInContext(given.before, world);
  vm.runInContext(given.script, world);
  await settled();
  for (const [address, script] of given.then) {
    if (address) world.location = new URL(address);
    vm.runInContext(script, world);
    listeners.map((listener) => listener());
    await settled();
  }
  const numbers = (world.routerTag.numbers || []).map(({ e164 }) => e164);
  return { requests, numbers, cookies: Object.fromEntries(jar), storage };
};

(async () => {
  const answers = [];
  for (const page of pages) answers.push(await visited(page));
  process.stdout.write(JSON.stringify(answers));
})();
"""


@dataclass(frozen=True)
class Page:
    """A page that somebody opens."""

    options: TagOptions = field(default_factory=TagOptions)
    address: str = ADDRESS
    before: str = ""
    """A script of the page that runs before the tag."""
    attributes: dict[str, str] = field(default_factory=dict)
    """Of the tag's script element, as it has them in `dataset`."""
    query: str = ""
    """Of the tag's address."""
    cookies: dict[str, str] = field(default_factory=dict)
    storage: dict[str, str] = field(default_factory=dict)
    privacy_control: bool = False
    webdriver: bool = False
    then: tuple[tuple[str, str], ...] = ()
    """What happens afterwards: the page has another address ("": the same), and a script runs."""

    def given(self) -> dict[str, Any]:
        script = tag_script(SERVER, KEY, self.options).body.decode()
        values = {name: value for name, value in asdict(self).items() if name not in ("options", "query")}
        return values | {"script": script, "src": f"{SERVER}/tag/{KEY}.js{self.query}", "answer": json.dumps(VISIT)}


@dataclass(frozen=True)
class Visited:
    """What came of it: the bodies of the page's requests for a visit, the numbers that it has then, and what is kept in the browser."""

    views: list[dict[str, Any]]
    numbers: list[str]
    cookies: dict[str, str]
    storage: dict[str, str]


def visited(pages: Iterable[Page]) -> list[Visited]:
    asked = json.dumps({"pages": [page.given() for page in pages]})
    answer = subprocess.run([NODE, "-e", STAGE], input=asked, capture_output=True, encoding="utf-8", check=False)
    assert answer.returncode == 0, answer.stderr
    return [
        Visited(
            [request["body"] for request in found["requests"] if request["url"] == f"{SERVER}/tag/{KEY}/visits"],
            found["numbers"],
            found["cookies"],
            found["storage"],
        )
        for found in json.loads(answer.stdout)
    ]
