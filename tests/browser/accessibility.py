"""Whether a page is readable for all, as axe judges it.

Most of axe's time goes into the contrast of every text. That depends on colours and size of the text and on what is painted under it: of
the texts that have all of these in common, and whose ancestors have them in common, three are judged.
"""

from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

AXE = Axe().axe_script
READY = f"window.makeAxe = () => {{{AXE}\n}};"

ALIKE = 3
"""How many texts of one look are judged; the first may be hidden behind something."""

# Marks the texts to judge, and asks axe, of whose answer only the complaints come back. Two texts have the same look when theirs and that
# of all elements around them are the same. Style sheets need not be loaded once more: only an experimental rule, which is not among the
# default ones, looks at them.
JUDGE = """async ([context, most]) => {
    if (!window.axe && !window.makeAxe) return null;
    if (!window.axe) makeAxe();
    const PARTS = ['color', 'backgroundColor', 'backgroundImage', 'opacity', 'filter', 'mixBlendMode', 'textShadow', 'fontSize',
        'fontWeight', 'position', 'zIndex', 'visibility', 'clipPath'];
    const ids = new Map(), seen = new Map();
    const look = (element, around) => {
        const style = getComputedStyle(element);
        const own = around + '|' + PARTS.map((part) => style[part]).join();
        if (!ids.has(own)) ids.set(own, ids.size);
        const id = ids.get(own);
        const says = 'value' in element || [...element.childNodes].some(({nodeType, data}) => nodeType === 3 && data.trim());
        element.removeAttribute('data-judged');
        if (says && element.checkVisibility({opacityProperty: true, visibilityProperty: true})) {
            const before = element.localName + id;
            const count = (seen.get(before) || 0) + 1;
            seen.set(before, count);
            if (count <= most) element.setAttribute('data-judged', '');
        }
        for (const child of element.children) look(child, id);
    };
    look(document.body, '');
    axe.configure({rules: [{id: 'color-contrast', selector: '[data-judged]'}]});
    return axe.run(context, {reporter: 'no-passes', resultTypes: ['violations'], preload: {assets: ['media']}});
}"""


def bring_axe(context: BrowserContext) -> None:
    """Puts axe, half a megabyte, into the pages of this context once: each reads it only when it is judged."""
    context.add_init_script(READY)


def judge(page: Page, part: str = "html", but: str = "") -> None:
    """Fails with what axe has to say against this page, or against that part of it; `but`: what is left out."""
    asked = [{"include": [part], "exclude": [but] if but else []}, ALIKE]
    found = page.evaluate(JUDGE, asked)
    if found is None:
        page.evaluate(AXE)
        found = page.evaluate(JUDGE, asked)
    results = AxeResults(found)
    assert results.violations_count == 0, results.generate_report()
