"""Back from the bank: hosts where people pay, sign in, prove who they are or read a confirmation take no visit away from its source."""

import re
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
import time_machine
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from router.accounts.models import Project
from router.attribution.models import Visit
from router.attribution.tracking.referrers import CHALLENGES, FILE, is_on_the_way, unwanted
from router.attribution.tracking.schema import is_own_host
from router.attribution.tracking.sources import DIRECT, Evidence, read_evidence
from router.attribution.tracking.visits import KnownVisit, continues, last_known_source
from router.server import Server
from tests.attribution.asking import view
from tests.counting import count_statements
from tests.factories import NOON, make_project, make_scenario

AD = "https://shop.example/?utm_source=google&utm_medium=cpc&utm_campaign=spring&gclid=one"
THANKS = "https://shop.example/thanks"


@pytest.fixture
def shop(server: Server) -> Server:
    with server.database.writing() as session:
        make_scenario(session, make_project(session), 3)
    return server


def back(client: FlaskClient, visitor: str | None, referrer: str, page: str = THANKS) -> tuple[int, str]:
    answer = view(client, page, visitor=visitor, referrer=referrer).get_json()
    return answer["visit"], answer["visitor"]


def visit_of(server: Server, number: int) -> Visit:
    with server.database.reading() as session:
        return session.scalars(select(Visit).where(Visit.number == number)).one()


NEVER = [
    *(
        "www.paypal.com",
        "paypal.com",
        "checkout.stripe.com",
        "hooks.stripe.com",
        "checkoutshopper-live.adyen.com",
        "pay.klarna.com",
    ),
    *(
        "www.mollie.com",
        "www.sofort.com",
        "giropay.de",
        "secure.worldpay.com",
        "api.checkout.com",
        "assets.braintreegateway.com",
    ),
    *(
        "squareup.com",
        "api.razorpay.com",
        "secure.payu.com",
        "secure.przelewy24.pl",
        "ideal.ing.nl",
        "betalen.rabobank.nl",
    ),
    *("securepay.tinkoff.ru", "yoomoney.ru", "auth.robokassa.ru", "securepayments.sberbank.ru", "mapi.alipay.com"),
    *(
        "www.mercadopago.com.br",
        "pay.google.com",
        "pay.amazon.com",
        "portal.afterpay.com",
        "checkout.affirm.com",
        "pay.shop.app",
    ),
    *(
        "sis.redsys.es",
        "ecommerce.nexi.it",
        "tpeweb.paybox.com",
        "p.monetico-services.com",
        "epayment.nets.eu",
        "checkout.dibspayment.eu",
    ),
    *(
        "pay.twint.ch",
        "securepay.simplepay.hu",
        "gate.gopay.cz",
        "secure.wayforpay.com",
        "secure.payplus.co.il",
        "bpm.shaparak.ir",
    ),
    *(
        "checkout.paystack.com",
        "payment.ecpay.com.tw",
        "stdpay.inicis.com",
        "p01.mul-pay.jp",
        "pay.vnpay.vn",
        "webpay3g.transbank.cl",
    ),
    *(
        "centinelapi.cardinalcommerce.com",
        "secure5.arcot.com",
        "www.rsa3dsauth.co.uk",
        "acs.netcetera.ch",
        "german-3dsecure.wlp-acs.com",
    ),
    *(
        "3dsecure.deutsche-bank.de",
        "3d-secure-code.de",
        "3d-secure.postbank.de",
        "acs-3dsecure.cm-cic.com",
        "3dsecure.icscards.nl",
    ),
    *("verified-by-visa.ing-diba.de", "mastercardsecurecode.sparkassen-kreditkarten.de", "www.securesuite.co.uk"),
    *(
        "accounts.google.com",
        "login.microsoftonline.com",
        "login.live.com",
        "appleid.apple.com",
        "shop-example.eu.auth0.com",
    ),
    *(
        "shop-example.okta.com",
        "id.vk.com",
        "passport.yandex.ru",
        "oauth.telegram.org",
        "kauth.kakao.com",
        "access.line.me",
    ),
    *("digid.nl", "login.itsme.be", "tunnistautuminen.suomi.fi", "esia.gosuslugi.ru"),
]
WITHIN = [
    *(
        "mail.google.com",
        "outlook.live.com",
        "outlook.office.com",
        "deref-gmx.net",
        "e.mail.ru",
        "mail.yandex.ru",
        "poczta.onet.pl",
    ),
    *("eur01.safelinks.protection.outlook.com", "webmail.provider.example", "mail.company.example", "www.icloud.com"),
    *(
        "www.facebook.com",
        "m.facebook.com",
        "x.com",
        "klarna.com",
        "www.klarna.com",
        "stripe.com",
        "www.abnamro.nl",
        "online.mbank.pl",
    ),
    *(
        "login.partner.example",
        "sso.company.example",
        "auth.shop.example.net",
        "acs2.bank.example",
        "3ds.bank.example.co.uk",
    ),
    *("pay.somebody.example", "checkout.somebody.example", "secure.login.bank.example"),
]
SOMEBODY = [
    *("www.google.com", "l.facebook.com", "lm.facebook.com", "t.co", "away.vk.com", "go.mail.ru", "yandex.ru", "news.example"),
    *("notpaypal.com", "paypal.com.evil.example", "my-3dshop.example", "acs.org", "pubs.acs.org", "auth0.com", "okta.com"),
    *("login.example", "mail.com", "paying.example", "blog.checkouts.example", "accounting.example.com", "3dsystems.com"),
    *("github.com", "www.linkedin.com", "www.amazon.de", "127.0.0.1", "localhost", "", "a", "..", "pay."),
]  # fmt: skip


@pytest.mark.parametrize(("hosts", "kind"), [(NEVER, "never"), (WITHIN, "within a visit"), (SOMEBODY, None)])
def test_hosts_are_known_by_the_list_or_by_what_such_hosts_are_called(hosts: list[str], kind: str | None) -> None:
    assert {host: unwanted(host) for host in hosts} == dict.fromkeys(hosts, kind)


@pytest.mark.parametrize(
    ("referrer", "way"),
    [
        ("https://www.linkedin.com/oauth/v2/authorization", True), ("https://github.com/login/oauth/authorize?x=1", True),
        ("https://www.amazon.de/ap/signin?a=b", True), ("https://discord.com/oauth2/authorize", True), ("https://x.example/SSO", True),
        ("https://shop.partner.example/checkout/done", True), ("https://blog.example/how-to-login", False),
        ("https://blog.example/payments-guide", False), ("https://blog.example/?next=/login", False),
        ("https://blog.example/#/login", False),        ("https://login.example", False), ("", False), ("/login", False),
    ],
)  # fmt: skip
def test_a_referrer_that_tells_its_path_is_known_by_it(referrer: str, way: bool) -> None:
    assert is_on_the_way(referrer) is way


def lines() -> list[str]:
    return [line for line in FILE.read_text("utf-8").splitlines() if line and not line.startswith(("#", "["))]


def test_the_list_holds_each_host_once_in_the_form_that_it_is_compared_in() -> None:
    names = [line.lstrip("*.=") for line in lines()]
    assert len(set(names)) == len(names) > 1000
    assert all(re.fullmatch(r"(\*\.|=)?[a-z0-9-]+(\.[a-z0-9-]+)+", line) for line in lines())
    assert re.findall(r"^\[(.*)\]$", FILE.read_text("utf-8"), re.MULTILINE) == ["never", "within a visit"]


def test_no_line_of_the_list_is_covered_by_another_one_of_its_kind() -> None:
    kinds = FILE.read_text("utf-8").split("\n[within a visit]\n")
    for kind in kinds:
        here = {line for line in kind.splitlines() if line and line[0] not in "#[*="}
        for host in here:
            labels = host.split(".")
            assert not any(".".join(labels[start:]) in here for start in range(1, len(labels))), host


HOSTS = st.sampled_from([line.lstrip("*.=") for line in lines()])
LABEL = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)


@given(HOSTS, LABEL)
def test_every_line_covers_what_it_says_and_no_longer_name_is_taken_for_it(host: str, label: str) -> None:
    line = next(one for one in lines() if one.lstrip("*.=") == host)
    covered = {"*": f"{label}.{host}", "=": host}.get(line[0], host)
    assert unwanted(covered) is not None
    if line[0] not in "*=":
        assert unwanted(f"{label}.{host}") is not None
    for other in (f"{host}.{label}.example", f"not{host}"):
        assert unwanted(other) != "never" or CHALLENGES.search(other)


def known_visit(source: str, **values: Any) -> KnownVisit:
    evidence = read(f"https://shop.example/?utm_source={source}" if source else "https://shop.example/", "")
    given_ = dict.fromkeys(KnownVisit.__slots__) | {
        "started_at": NOON, "last_sign_at": NOON, "limited": False, "click_ids": {}, "source_key": evidence.source.key,
    }  # fmt: skip
    return KnownVisit(**given_ | evidence.source.as_dict() | values)


def read(page: str, referrer: str) -> Evidence:
    return read_evidence(page, referrer, {}, lambda host: is_own_host(["shop.example"], host, "shop.example"))


@given(
    HOSTS | st.sampled_from(NEVER + WITHIN),
    st.sampled_from(["", "www.", "secure."]),
    st.sampled_from(["http", "https"]),
    st.sampled_from(["", "/", "/checkoutnow?token=EC-1", "/a/b#c"]),
    st.sampled_from(["", "google", "newsletter"]),
    st.integers(0, 1799),
    st.booleans(),
)
def test_a_referrer_of_the_list_never_changes_the_source_of_a_visit_that_goes_on(
    host: str, below: str, scheme: str, path: str, source: str, seconds: int, keeps: bool
) -> None:
    host = below + host if unwanted(below + host) else host
    visit = known_visit(source, source_at=NOON - timedelta(days=1) if keeps else None)
    evidence = read(THANKS, f"{scheme}://{host}{path}")
    if unwanted(host):
        assert continues(visit, evidence, timedelta(seconds=1800), NOON + timedelta(seconds=seconds))


@given(st.sampled_from(NEVER), st.sampled_from(["", "google"]), st.integers(1800, 10**7))
def test_one_that_is_never_a_source_begins_no_visit_of_its_own_either(host: str, source: str, seconds: int) -> None:
    visit, now = known_visit(source), NOON + timedelta(seconds=seconds)
    evidence = read(THANKS, f"https://{host}/")
    assert not continues(visit, evidence, timedelta(seconds=1800), now)
    assert last_known_source(evidence, None, 30, now).source == DIRECT
    kept = source and seconds < 30 * 86400
    assert last_known_source(evidence, visit, 30, now).source.source == (source if kept else "direct")


@pytest.mark.parametrize(
    "referrer",
    [
        "https://www.paypal.com/",
        "https://accounts.google.com/",
        "https://checkout.stripe.com/c/pay",
        "https://3dsecure.bank.example/",
        "https://mail.google.com/",
        "https://www.facebook.com/",
        "https://github.com/login/oauth/authorize",
    ],
)
def test_r7_back_from_the_bank_the_visit_goes_on(
    shop: Server, client: FlaskClient, clock: time_machine.Traveller, referrer: str
) -> None:
    first, visitor = back(client, None, "https://www.google.com/", AD)
    clock.shift(timedelta(minutes=29))
    assert back(client, visitor, referrer) == (first, visitor)
    visit = visit_of(shop, first)
    assert (visit.source, visit.campaign, visit.click_ids, visit.referrer) == (
        "google",
        "spring",
        {"gclid": "one"},
        "https://www.google.com/",
    )


def test_r7_after_the_gap_a_payment_page_is_no_source_and_a_mailbox_is_one(
    shop: Server, client: FlaskClient, clock: time_machine.Traveller
) -> None:
    first, visitor = back(client, None, "", AD)
    clock.shift(timedelta(minutes=40))
    second, _ = back(client, visitor, "https://www.paypal.com/")
    clock.shift(timedelta(minutes=40))
    third, _ = back(client, visitor, "https://mail.google.com/")
    stranger, _ = back(client, None, "https://www.paypal.com/")
    seen = [(one.source, one.medium, one.source_at) for one in (visit_of(shop, n) for n in (second, third, stranger))]
    assert seen == [
        ("google", "cpc", NOON),
        ("mail.google.com", "referral", None),
        ("direct", "none", None),
    ]
    assert all(one < other for one, other in pairwise((first, second, third, stranger)))
    assert visit_of(shop, second).referrer == "https://www.paypal.com/", "where he came from last is told all the same"


def test_r7_an_advertisement_is_news_wherever_it_was_clicked(shop: Server, client: FlaskClient, clock: Any) -> None:
    first, visitor = back(client, None, "", AD)
    for page in (THANKS + "?utm_source=bing", THANKS + "?msclkid=x", THANKS + "?gclid=two", THANKS + "?mc_cid=letter"):
        after, _ = back(client, visitor, "https://mail.google.com/", page)
        assert after > first
        first = after


def test_r7_a_project_names_hosts_of_its_own(shop: Server, client: FlaskClient, clock: Any) -> None:
    first, visitor = back(client, None, "", AD)
    for referrer in ("https://booking.example/", "https://www.booking.example/", "https://eu.tickets.example/"):
        with shop.database.writing() as session:
            session.execute(update(Project).values(unwanted_referrals=["booking.example", "*.tickets.example"]))
        assert back(client, visitor, referrer) == (first, visitor)
    assert visit_of(shop, back(client, None, "https://eu.tickets.example/")[0]).channel == "direct"
    for referrer in ("https://tickets.example/", "https://eu.booking.example/", "https://mybooking.example/"):
        after, _ = back(client, visitor, referrer)
        assert after > first
        assert visit_of(shop, after).channel == "referral"
        first = after


@pytest.mark.parametrize(
    ("address", "alone"),
    [
        ("?utm_nooverride=1&utm_source=bing&utm_medium=cpc", "bing"),
        ("?UTM_NOOVERRIDE=1&gclid=two", "google"),
        ("?a=b&gad_source=1&utm_nooverride=1", "google"),
        ("?utm_nooverride=true&epik=x", "pinterest"),
        ("?utm_nooverride=1", "news.example"),
        ("?a=b#utm_nooverride=1", "news.example"),
        ("#/thanks?utm_nooverride=1&utm_source=bing", "bing"),
    ],
)
def test_r7_utm_nooverride_begins_no_visit_and_replaces_no_source_that_is_known(
    shop: Server, client: FlaskClient, clock: time_machine.Traveller, address: str, alone: str
) -> None:
    came = "https://news.example/"
    first, visitor = back(client, None, "", AD)
    assert back(client, visitor, came, THANKS + address) == (first, visitor)
    clock.shift(timedelta(days=1))
    second = visit_of(shop, back(client, visitor, came, THANKS + address)[0])
    assert (second.source, second.campaign, second.source_at) == ("google", "spring", NOON)
    clock.shift(timedelta(days=29))
    third = visit_of(shop, back(client, visitor, came, THANKS + address)[0])
    assert (third.source, third.campaign, third.source_at) == (alone, "", None), "what brought him is forgotten by now"
    assert len({first, second.number, third.number}) == 3
    assert visit_of(shop, back(client, None, came, THANKS + address)[0]).source == alone


@pytest.mark.parametrize("value", ["0", "", "no", "2"])
def test_utm_nooverride_has_to_say_yes(value: str) -> None:
    evidence = read(THANKS + f"?utm_nooverride={value}&utm_source=bing", "")
    assert (evidence.begins_visit, evidence.overrides) == (True, True)


def test_r6_it_takes_no_statement_to_know_them(shop: Server, client: FlaskClient, clock: Any) -> None:
    def statements(referrer: str) -> int:
        with count_statements(shop.database) as heard:
            assert back(client, visitor, referrer)[0] == first
        return len(heard)

    first, visitor = back(client, None, "", AD)
    assert statements("") == statements("https://www.paypal.com/") == statements("https://mail.google.com/")


@given(st.text())
def test_no_host_and_no_referrer_breaks_it(text: str) -> None:
    assert unwanted(text) in (None, "never", "within a visit")
    assert is_on_the_way(text) in (True, False)
    assert read(THANKS, f"https://{text}/").source.channel
