"""Consent (R14): what the tag does before a visitor has chosen, and after he has, or has changed his mind."""

import threading
from typing import Any

import pytest
from playwright.sync_api import Page

from router.attribution.tag import TagOptions
from tests.browser.stub import CONSENT, KEY, Site, Stub
from tests.browser.tag_pages import LENT, OWN, PAGE, text_of, wait_until, wait_until_shown

CLICKED = "?utm_source=google&gclid=Cj0K&fbclid=IwAR"
WITHHELD = "?utm_source=google&gclid=-&fbclid=-"
TAG = '<script async src="{tag}"></script>'
PRIVACY_CONTROL = "<script>Object.defineProperty(navigator, 'globalPrivacyControl', {value: true});</script>"
KEPT = f"[document.cookie, localStorage.getItem('router_visitor_{KEY}')]"


def kept(page: Page) -> Any:
    """The cookie and the storage of the site."""
    return page.evaluate(KEPT)


def waits(page: Page) -> None:
    page.wait_for_timeout(60)


def test_r14_without_consent_nothing_is_asked_shown_or_kept(
    quick_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    stub.options = TagOptions(consent="none")
    quick_page.goto(site.put(PAGE) + CLICKED)
    quick_page.evaluate("history.pushState({}, '', '/prices')")
    waits(quick_page)
    assert (stub.requests, text_of(quick_page), kept(quick_page)) == ([], OWN, ["", None])
    quick_page.evaluate("routerTag.consent('full')")
    wait_until_shown(quick_page, LENT)
    (view,) = stub.requests
    assert view.body["page"] == site.origin + "/" + CLICKED  # where the visitor came from, not where he said yes
    assert "consent" not in view.body
    assert kept(quick_page)[0] == f"router_visitor_{KEY}=v1sitor"
    assert console == []


def test_r14_limited_shows_a_number_and_keeps_neither_cookie_nor_click_ids(
    quick_page: Page, stub: Stub, site: Site
) -> None:
    stub.options = TagOptions(consent="limited")
    address = site.put(PAGE)
    quick_page.context.add_cookies([{"name": "_ga", "value": "GA1.1.11.22", "url": address}])
    quick_page.goto(address + CLICKED, referer="https://www.google.com/?gclid=Cj0K")
    wait_until_shown(quick_page, LENT)
    (view,) = stub.requests
    assert view.body == {
        "page": address + WITHHELD,
        "referrer": "https://www.google.com/?gclid=-",
        "consent": "limited",
    }
    assert kept(quick_page) == ["_ga=GA1.1.11.22", None]
    quick_page.evaluate("history.pushState({}, '', '/prices')")
    second = stub.wait_for("/visits", 2)[1]
    assert second.body["visitor"] == "v1sitor"  # known to this page only
    assert second.body["referrer"] == address + WITHHELD


IDS = [
    *(
        "gclid",
        "gbraid",
        "wbraid",
        "dclid",
        "yclid",
        "ysclid",
        "ymclid",
        "msclkid",
        "fbclid",
        "ttclid",
        "twclid",
        "qclid",
        "ndclid",
    ),
    *(
        "li_fat_id",
        "rdt_cid",
        "ScCid",
        "epik",
        "tblci",
        "dicbo",
        "obclid",
        "ob_click_id",
        "irclickid",
        "irclid",
        "rb_clickid",
        "mc_eid",
    ),
]


def test_r14_limited_tells_no_click_id_of_the_large_networks_in_query_and_fragment(
    quick_page: Page, stub: Stub, site: Site
) -> None:
    """And leaves what names a campaign, a product or a page."""
    stub.options = TagOptions(consent="limited")
    others = "utm_source=a&utm_id=7&gad_source=1&gad_campaignid=2&product_id=3&page_id=4&id=5&club_id=6&cid=8"
    ids, blank = ("&".join(f"{name}={value}" for name in IDS) for value in ("S3cret.x-y_z", "-"))
    quick_page.goto(site.put(PAGE) + f"?{ids}&{others}#/a?{ids}&{others}")
    wait_until_shown(quick_page, LENT)
    assert stub.requests[0].body["page"] == site.origin + f"/?{blank}&{others}#/a?{blank}&{others}"


def test_r14_consent_given_later_upgrades_the_same_visit_and_keeps_its_number(
    quick_page: Page, stub: Stub, site: Site
) -> None:
    stub.options = TagOptions(consent="limited")
    address = site.put(PAGE)
    quick_page.goto(address + CLICKED)
    wait_until_shown(quick_page, LENT)
    quick_page.evaluate("history.pushState({}, '', '/prices')")
    stub.wait_for("/visits", 2)
    quick_page.context.add_cookies([{"name": "_ga", "value": "GA1.1.11.22", "url": address}])
    quick_page.evaluate("routerTag.consent('full')")
    (sign,) = stub.wait_for("/alive")
    told = {
        "page": address + CLICKED,
        "referrer": "",
        "consent": "full",
        "ga": {"client_id": "GA1.1.11.22"},
        "shown": [1],
    }
    assert (sign.path, sign.body) == (f"/tag/{KEY}/visits/t2/alive", told)
    waits(quick_page)
    assert text_of(quick_page) == LENT
    assert f"router_visitor_{KEY}=v1sitor" in kept(quick_page)[0]


def test_r14_consent_withdrawn_deletes_what_was_kept_and_tells_the_server(
    quick_page: Page, stub: Stub, site: Site, console: list[str]
) -> None:
    quick_page.goto(site.put(PAGE) + CLICKED)
    wait_until_shown(quick_page, LENT)
    assert kept(quick_page) != ["", None]
    quick_page.evaluate("routerTag.consent('limited')")
    (sign,) = stub.wait_for("/alive")
    assert (sign.body["consent"], sign.body["page"]) == ("limited", site.origin + "/" + WITHHELD)
    waits(quick_page)
    assert (text_of(quick_page), kept(quick_page)) == (LENT, ["", None])
    quick_page.evaluate("routerTag.consent('none')")
    wait_until_shown(quick_page, OWN)
    stub.wait_for("/left")
    assert kept(quick_page) == ["", None]
    quick_page.evaluate("routerTag.consent('full')")
    wait_until_shown(quick_page, LENT)
    assert console == []


def test_r14_what_the_visitor_chose_before_the_tag_was_there_counts(quick_page: Page, stub: Stub, site: Site) -> None:
    """All that he can choose, for all that a project can say, is in tests/attribution/test_tag_visits.py."""
    stub.options = TagOptions(consent="none")
    chooses = f"{CONSENT}<script>routerConsent('limited')</script>"
    quick_page.goto(site.put(PAGE, head=chooses + TAG))
    wait_until_shown(quick_page, LENT)
    assert stub.requests[0].body["consent"] == "limited"


def test_r14_global_privacy_control_keeps_a_project_without_numbers_silent(
    quick_page: Page, stub: Stub, site: Site
) -> None:
    stub.options = TagOptions("none", gpc_refuses=True)
    quick_page.goto(site.put(PAGE, head=PRIVACY_CONTROL + TAG))
    waits(quick_page)
    assert stub.requests == []
    quick_page.evaluate("routerTag.consent('full')")  # said to this site, by the visitor himself
    wait_until_shown(quick_page, LENT)
    assert "consent" not in stub.requests[0].body


@pytest.mark.parametrize("mode", ["none", "limited"])
def test_r14_who_agreed_before_need_not_agree_on_every_page(
    quick_page: Page, stub: Stub, site: Site, mode: str
) -> None:
    """The cookie tells of it: it was set with consent, and is deleted when that is taken back."""
    stub.options = TagOptions(consent=mode)
    quick_page.goto(site.put(PAGE))
    wait_until(quick_page, "!!window.routerTag")
    quick_page.evaluate("routerTag.consent('full')")
    wait_until_shown(quick_page, LENT)
    wait_until(quick_page, "!!document.cookie")
    quick_page.goto(site.put(PAGE, "/next"))
    wait_until_shown(quick_page, LENT)
    view = stub.wait_for("/visits", 2)[-1]
    assert (view.body["page"], view.body["visitor"], view.body.get("consent")) == (
        site.origin + "/next",
        "v1sitor",
        None,
    )
    quick_page.evaluate("routerTag.consent('refused')")
    quick_page.reload()
    waits(quick_page)
    assert kept(quick_page) == ["", None]
    assert stub.of("/visits")[-1].body.get("consent") == (None if mode == "none" else "limited")


@pytest.mark.parametrize("head", ["<script>routerTag = {consent: 'limited'}</script>", PRIVACY_CONTROL])
def test_r14_a_refusal_that_is_there_when_the_page_loads_deletes_what_was_kept(
    quick_page: Page, stub: Stub, site: Site, head: str
) -> None:
    """Said by the quick_page, or by the browser where the project heeds that."""
    quick_page.goto(site.put(PAGE))
    wait_until_shown(quick_page, LENT)
    wait_until(quick_page, "!!document.cookie")
    if head == PRIVACY_CONTROL:
        stub.options = TagOptions(gpc_refuses=True)
    quick_page.goto(site.put(PAGE, "/next", head=head + TAG))
    wait_until_shown(quick_page, LENT)
    assert kept(quick_page) == ["", None]
    assert "visitor" not in stub.of("/visits")[-1].body


def test_r14_a_number_that_arrives_after_the_refusal_is_not_shown(quick_page: Page, stub: Stub, site: Site) -> None:
    stub.slow = threading.Event()
    quick_page.goto(site.put(PAGE))
    stub.wait_for("/visits")
    quick_page.evaluate("routerTag.consent('none')")
    stub.slow.set()
    waits(quick_page)
    assert (text_of(quick_page), quick_page.evaluate("routerTag.visit"), kept(quick_page)) == (OWN, None, ["", None])
    quick_page.evaluate("routerTag.consent('full')")
    wait_until_shown(quick_page, LENT)


@pytest.mark.parametrize("level", ["none", "limited"])
def test_r14_a_cookie_that_the_server_sets_after_the_refusal_is_deleted(
    quick_page: Page, stub: Stub, site: Site, level: str
) -> None:
    """Where the site serves the tag: the server had not heard of the refusal yet."""
    stub.slow = threading.Event()
    quick_page.goto(site.put(PAGE))
    stub.wait_for("/visits")
    quick_page.evaluate(f"routerTag.consent('{level}')")
    quick_page.evaluate(f"document.cookie = 'router_visitor_{KEY}=v1sitor; path=/; domain=127.0.0.1'")
    stub.slow.set()
    wait_until(quick_page, "!document.cookie")
    assert kept(quick_page) == ["", None]
