"""What the tag changes on a page and what it leaves alone: the page before, the page after."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from router.lib.phones import spellings
from tests.browser.stub import KEY, Site, Stub, number, running_site, running_stub
from tests.browser.tag_pages import text_of, wait_until

SENTINEL = '<b id="sentinel">here</b>'


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with running_stub() as stub:
        yield stub


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """One for all tests here, to save time: each begins with a page of its own anyway, and knows nothing of the numbers before."""
    context = browser.new_context()
    context.set_default_timeout(20_000)
    context.add_init_script("try { localStorage.clear(); } catch (refused) {}")
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def site(stub: Stub) -> Iterator[Site]:
    with running_site(f"{stub.base}/tag/{KEY}.js") as site:
        yield site


def shown(page: Page, stub: Stub, site: Site, before: str, numbers: list[dict[str, Any]]) -> str:
    """The page's content after all numbers were put in."""
    stub.numbers = [*numbers, number(99, "+12125550100", form="swapped", selectors=["#sentinel"])]
    page.goto(site.put(f"<main>{before}</main>{SENTINEL}"))
    wait_until(page, "document.querySelector('#sentinel').textContent === 'swapped'")
    return str(page.evaluate("document.querySelector('main').innerHTML"))


US = spellings(["(415) 555-2671"], "US")
GB = spellings(["020 7946 0958"], "GB")
MOSCOW = {"e164": "+74997654321"}

SELECTED = [
    ("a leaf's words", {"form": "8 800 X"}, '<i class="p">Call us</i>', '<i class="p">8 800 X</i>'),
    ("an empty leaf", {}, '<i class="p"></i>', '<i class="p">(415) 555-0123</i>'),
    (
        "structure stays",
        {},
        '<p class="p"><b>Tel:</b> 415-555-2671 <i>free</i></p>',
        '<p class="p"><b>Tel:</b> 415-555-0123 <i>free</i></p>',
    ),
    (
        "a format",
        {"form": "+1 415.555.0123"},
        '<p class="p">Tel: 415-555-2671!</p>',
        '<p class="p">Tel: +1 415.555.0123!</p>',
    ),
    (
        "a number spread over elements",
        MOSCOW | {"form": "8 (499) 765-43-21"},
        '<p class="p"><small>8 (495)</small> 123-45-67</p>',
        '<p class="p"><small>8 (499)</small> 765-43-21</p>',
    ),
    (
        "spread, in its own form",
        MOSCOW,
        '<p class="p"><small>+7 495</small> <b>123 45 67</b></p>',
        '<p class="p"><small>+7 499</small> <b>765 43 21</b></p>',
    ),
    (
        "opening hours beside it",
        {},
        '<p class="p">9-18, (415) 555-2671 (24/7)</p>',
        '<p class="p">9-18, (415) 555-0123 (24/7)</p>',
    ),
    (
        "two numbers in one element",
        {},
        '<p class="p">415-555-2671<br>415-555-2672</p>',
        '<p class="p">415-555-0123<br>415-555-0123</p>',
    ),
    (
        "its link",
        {},
        '<a class="p" href="tel:4155552671">415-555-2671</a>',
        '<a class="p" href="tel:+14155550123">415-555-0123</a>',
    ),
    (
        "the link around it",
        {},
        '<a href="tel:1"><i class="p">415-555-2671</i></a>',
        '<a href="tel:+14155550123"><i class="p">415-555-0123</i></a>',
    ),
    (
        "a link with words",
        {},
        '<a class="p" href="tel:1">Call us</a>',
        '<a class="p" href="tel:+14155550123">Call us</a>',
    ),
    ("form fields", {}, '<textarea class="p">415-555-2671</textarea>', '<textarea class="p">415-555-2671</textarea>'),
    (
        "editable text",
        {},
        '<p class="p" contenteditable="">415-555-2671</p>',
        '<p class="p" contenteditable="">415-555-2671</p>',
    ),
    (
        "a messenger",
        {},
        '<a class="p" href="https://wa.me/1415">415-555-2671</a>',
        '<a class="p" href="https://wa.me/1415">415-555-2671</a>',
    ),
]


def rows(htmls: list[str]) -> str:
    """A page with each of these in a part of its own."""
    return "".join(f'<section id="row{index}">{html}</section>' for index, html in enumerate(htmls))


def test_r1_a_selected_element(page: Page, stub: Stub, site: Site, console: list[str]) -> None:
    """Each row of the table is a part of the page, with a scenario of its own."""
    numbers = [number(index + 1, selectors=[f"#row{index} .p"], **case[1]) for index, case in enumerate(SELECTED)]
    shown(page, stub, site, rows([before for _, _, before, _ in SELECTED]), numbers)
    for index, (name, _, _, after) in enumerate(SELECTED):
        assert page.evaluate(f"document.querySelector('#row{index}').innerHTML") == after, name
    assert console == []


LEFT_ALONE = [
    "<p>1415-555-26710</p>",
    "<p>No 24155552671, 4155552671999, a4155552671, 4155552671b, x=4155552671, #4155552671</p>",
    "<p>+49 415-555-2671</p><p>+4155552671</p><p>12-415-555-2671</p><p>415-555-2671-22</p>",
    "<p><small>+7</small> 415-555-2671</p>",
    "<p>wa.me/4155552671</p>",
    '<a href="https://wa.me/14155552671">415-555-2671</a>',
    '<a href="sms:+14155552671">415-555-2671</a><a href="mailto:4155552671@example.com">415-555-2671</a>',
    '<script type="application/ld+json">{"telephone": "415-555-2671"}</script><style>/* 415-555-2671 */</style>',
    '<textarea>415-555-2671</textarea><input value="415-555-2671"><select><option>415-555-2671</option></select>',
    '<div contenteditable="true"><p>415-555-2671</p></div>',
    "<noscript>415-555-2671</noscript>",
    "<p>4155552671@example.com</p>",
    "<p>415-555-2671/72</p><p>415-555-2671/2672</p>",
    "<p><b>415-555-2671</b> ext. 5</p><p><b><i>415-555-2671</i></b> <!-- --><span>x5</span></p>",
    '<a href="tel:+14155552671;ext=5">Sales</a><a href="/4155552671" title="415-555-2671">x</a>',
]


def test_what_is_no_number_of_ours_is_left_alone(page: Page, stub: Stub, site: Site) -> None:
    shown(page, stub, site, rows(LEFT_ALONE), [number(replace=US)])
    for index, html in enumerate(LEFT_ALONE):
        assert page.evaluate(f"document.querySelector('#row{index}').innerHTML") == html


def test_links_follow_what_they_dial(page: Page, stub: Stub, site: Site) -> None:
    html = '<a href="tel:+1-415-555-2671">Sales</a> <a href="TEL:%2B1(415)5552671">x</a> <a href="tel:+12125550000">Other</a>'
    after = '<a href="tel:+14155550123">Sales</a> <a href="tel:+14155550123">x</a> <a href="tel:+12125550000">Other</a>'
    assert shown(page, stub, site, html, [number(replace=US)]) == after


def test_r1_several_scenarios_share_a_page_and_the_lowest_keeps_what_two_claim(
    page: Page, stub: Stub, site: Site
) -> None:
    html = '<p class="a b">Call</p><p class="b">Call</p><p>415-555-2671 or 020 7946 0958</p>'
    numbers = [
        number(7, "+14155550177", selectors=[".b"], replace=[*US, *GB]),
        number(3, selectors=[".a"], form="three", replace=US),
    ]
    assert (
        shown(page, stub, site, html, numbers)
        == '<p class="a b">three</p><p class="b">(415) 555-0177</p><p>three or (415) 555-0177</p>'
    )


def test_a_selector_that_is_no_selector_harms_no_other(page: Page, stub: Stub, site: Site, console: list[str]) -> None:
    assert (
        shown(page, stub, site, '<i class="p">x</i>', [number(selectors=["..", ".p"], form="new")])
        == '<i class="p">new</i>'
    )
    assert console == []


def test_a_number_in_a_long_list_of_digits_is_found_in_each_item(page: Page, stub: Stub, site: Site) -> None:
    html = (
        "<ol><li>5</li><li>415-555-2671</li></ol><table><tbody><tr><td>5</td><td>415-555-2671</td></tr></tbody></table>"
    )
    assert shown(page, stub, site, html, [number(replace=US)]) == html.replace("2671", "0123")


def test_what_the_page_adds_or_renders_again_is_swapped_too(page: Page, stub: Stub, site: Site) -> None:
    shown(
        page,
        stub,
        site,
        '<p id="t">415-555-2671</p><a id="l" href="tel:4155552671">x</a>',
        [number(replace=US, selectors=[".late"])],
    )
    page.evaluate("document.querySelector('#t').firstChild.data = 'new: 415-555-2671'")
    page.evaluate("document.querySelector('#l').href = 'tel:+1 415 555 2671'")
    page.evaluate(
        "document.querySelector('main').append(Object.assign(document.createElement('i'), {className: 'late'}))"
    )
    assert text_of(page, "#t") == "new: 415-555-0123"
    assert page.get_attribute("#l", "href") == "tel:+14155550123"
    assert text_of(page, ".late") == "(415) 555-0123"


def test_a_page_that_fights_back_is_not_hung(page: Page, stub: Stub, site: Site) -> None:
    shown(page, stub, site, '<p id="t">x</p>', [number(replace=US)])
    page.evaluate("""() => {
        const text = document.querySelector('#t').firstChild;
        window.fights = 0;
        new MutationObserver(() => {
            if (text.data !== '415-555-2671') { window.fights++; text.data = '415-555-2671'; }
        }).observe(text, {characterData: true});
        text.data = '415-555-2671';
    }""")
    assert 1 < page.evaluate("window.fights") < 50


def test_every_swap_can_be_taken_back(page: Page, stub: Stub, site: Site) -> None:
    html = '<p class="p">Call us</p><p class="p"><b>8 (495)</b> 123-45-67</p><p>415-555-2671</p><a href="tel:4155552671">x</a>'
    assert shown(page, stub, site, html, [number(replace=US, selectors=[".p"])]) != html
    page.evaluate("routerTag.restore()")
    assert page.evaluate("document.querySelector('main').innerHTML") == html


def test_a_number_of_the_same_length_moves_nothing(page: Page, stub: Stub, site: Site) -> None:
    page.add_init_script("""window.shift = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((one) => { window.shift += one.value; }))
            .observe({type: 'layout-shift', buffered: true});""")
    shown(
        page,
        stub,
        site,
        '<p style="font: 20px monospace"><span>415-555-2671</span> and more text</p>',
        [number(replace=US)],
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.shift") == 0


def test_nothing_is_global_but_one_name(page: Page, stub: Stub, site: Site) -> None:
    page.add_init_script("window.names = () => Object.getOwnPropertyNames(window); window.before = window.names();")
    shown(page, stub, site, "", [])
    assert page.evaluate("window.names().filter((name) => !window.before.includes(name) && name !== 'before')") == [
        "routerTag"
    ]


ALIKE = """<p><b data-visit-number></b></p><i>10001</i><p class="p"></p><p class="slide">(415) 555-2671</p>"""


def test_a_text_that_reads_like_what_the_tag_has_written_elsewhere_stays(page: Page, stub: Stub, site: Site) -> None:
    """Neither a price like the visit number, nor a copy of a number like the one in an element that was empty."""
    shown(page, stub, site, ALIKE, [number(selectors=[".p"], replace=US)])
    page.evaluate("""() => {
        const slide = document.querySelector('.slide');
        slide.after(slide.cloneNode(true), Object.assign(document.createElement('i'), {textContent: '10001'}));
    }""")
    page.wait_for_timeout(60)
    lent = "(415) 555-0123"
    texts = "[...document.querySelectorAll('main > :not(:first-child)')].map((one) => one.textContent)"
    assert page.evaluate(texts) == ["10001", lent, lent, lent, "10001"]
    page.evaluate("routerTag.restore()")
    assert page.evaluate(texts) == ["10001", "", "(415) 555-2671", "(415) 555-2671", "10001"]


def test_a_number_that_is_added_and_gone_at_once_keeps_no_other_from_being_found(
    page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    shown(page, stub, site, "", [number(replace=US)])
    page.evaluate("""() => {
        const main = document.querySelector('main');
        main.innerHTML = '<span>415-555-2671</span>';
        main.innerHTML = '<p>415-555-2671</p>';
    }""")
    wait_until(page, "document.querySelector('main p').textContent === '415-555-0123'")
    assert console == []
