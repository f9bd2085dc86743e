"""The parameters of a page's address: of its query, and of its fragment (`/#utm_source=…`, `/#/landing?gclid=…`, `#!/…`), each read in
the encoding that it was written in, by the rules of docs/attribution.md (*Old encodings*).

Rule 2 works because Latin words have ASCII letters between their accented ones. The first word that it knows decides for the whole value;
a single byte that stands alone (`в`, `à`) follows the others, else the country. General detectors (chardet, charset-normalizer,
chardetng) need longer texts: they read `окна` as Chinese or as `îêíà`.

Beside them the names that the networks give to their parameters (docs/attribution.md holds the table for people), and the names that stand
for one person (R14): a click, a browser or a subscriber. UTM and campaign ids do not."""

import re
from urllib.parse import unquote_plus, unquote_to_bytes

MOST_PARAMETERS = 200
LONGEST_RAW = 4000
"""Of a value as it is written; three to twelve characters are one."""
MOST_CODED = 3
"""How often a value may be encoded over and over."""

COUNTRIES_OF = {
    "cp1251": "RU UA BY BG KZ KG TJ UZ TM MN MK RS ME AM AZ GE MD",
    "cp1250": "PL CZ SK HU HR SI RO BA AL",
    "cp1253": "GR CY",
    "cp1254": "TR",
    "cp1255": "IL",
    "cp1256": "AE BH DZ EG IQ IR JO KW LB LY MA OM PS QA SA SD SY TN YE",
    "cp1257": "EE LT LV",
    "cp874": "TH",
    "cp932": "JP",
    "gb18030": "CN SG",
    "big5hkscs": "TW HK MO",
    "cp949": "KR",
}
CODE_PAGES = {country: page for page, countries in COUNTRIES_OF.items() for country in countries.split()}
EAST_ASIAN = ("cp932", "gb18030", "big5hkscs", "cp949")
OTHER_LATIN = ("cp1250", "cp1254", "cp1257")
OWN_SCRIPTS = ("cp1253", "cp1255", "cp1256", "cp874")

WORD = re.compile(rb"[A-Za-z\x80-\xff]+")
HIGH = re.compile(rb"[\x80-\xff]")
FOUR_IN_A_ROW = re.compile(rb"[\xa5\xa8\xaa\xaf\xb2-\xb4\xb8\xba\xbf-\xff]{4}")
LETTER = re.compile(rb"[A-Za-z]")
UTF8_IN = {
    "cp1251": re.compile(rb"((?:\xd0[\x90-\xbf]|\xd1[\x80-\x8f]){2,})"),
    "cp1252": re.compile(rb"((?:\xc3[\x80-\xbf])+)"),
}
"""What no word in these code pages holds: letters in UTF-8, of which a word may have some that is half and half."""

CUT_ESCAPE = re.compile(r"(?<=%[89A-Fa-f][0-9A-Fa-f])%[0-9A-Fa-f]?$")
OLD_ESCAPE = re.compile(r"(?:%u[0-9A-Fa-f]{4})+")
FRAGMENT_PARTS = re.compile(r"[?&#]")

ESCAPED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")
OLD_LETTERS = re.compile(r"(?:%[89A-Fa-f][0-9A-Fa-f]){2}")


def read_parameters(address: str) -> tuple[dict[str, str], dict[str, str]]:
    """The parameters of the query and those of the fragment, by case-folded name, undecoded; of a repeated parameter the first."""
    head, _, fragment = address.partition("#")
    query = head.partition("?")[2].split("&", MOST_PARAMETERS)
    return _by_name(query), _by_name(FRAGMENT_PARTS.split(fragment, MOST_PARAMETERS))


def _by_name(pairs: list[str]) -> dict[str, str]:
    """`&amp;` is an address that was copied out of HTML; `#!utm_source=…` and `#/utm_source=…` belong to the page's router."""
    parameters: dict[str, str] = {}
    for pair in pairs[:MOST_PARAMETERS]:
        name, _, value = pair.partition("=")
        if value:
            name = name if name.isascii() and "%" not in name else decode(name, "")
            parameters.setdefault(name.strip().casefold().removeprefix("amp;").lstrip("!/"), value)
    return parameters


def decode(raw: str, country: str) -> str:
    """The text of a percent-encoded value: UTF-8 where it is that, else the code page that fits its bytes, or the project's country. `+` is
    a blank. A value that was encoded twice is read through; a value that was cut within a letter loses that letter.

    Args:
        raw: the value as it stands in the address.
        country: the project's, as two letters; empty: none is known.
    """
    if "%" not in raw and "+" not in raw:
        return raw[:LONGEST_RAW].replace("\0", "")
    text = _decoded(raw[:LONGEST_RAW].replace("+", " "), country)
    for _ in range(MOST_CODED - 1):
        if "%" not in text or not text.isascii() or not ESCAPED.fullmatch(text):
            break
        if not _is_valid(unquote_to_bytes(text)) and not OLD_LETTERS.search(text):
            break  # `100%` and `50%ab` are not encoded any more
        text = _decoded(text, country)
    return text.replace("\0", "")


def _decoded(raw: str, country: str) -> str:
    def utf16(run: re.Match[str]) -> str:  # as JavaScript's escape() writes
        return bytes.fromhex(run[0].replace("%u", "")).decode("utf-16-be", "replace")

    raw = OLD_ESCAPE.sub(utf16, CUT_ESCAPE.sub("", raw))
    value = unquote_to_bytes(raw.encode("utf-8", "replace"))
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        begun, last = value[: error.start], value[error.start]
        is_utf8 = HIGH.search(begun) is not None and (begun[-1] >= 0x80 or 0xC2 <= last < 0xDF)
        # cut within its last letter; else that is an `é` or `ß` of a code page
        if error.reason == "unexpected end of data" and is_utf8:
            return begun.decode()
    page = _code_page([word for word in WORD.findall(value) if not _is_valid(word)], value, country)
    if page in EAST_ASIAN:
        return value.decode(page)

    def read(word: re.Match[bytes]) -> bytes:
        if _is_valid(word[0]):
            return word[0]
        pieces = UTF8_IN[page].split(word[0]) if page in UTF8_IN else [word[0]]
        text = ""
        for place, piece in enumerate(pieces):
            if place % 2:  # of UTF-8
                text += piece.decode()
            else:  # bytes that the page does not know stay as they are written
                text += "".join(bytes((byte,)).decode(page, "ignore") or f"%{byte:02X}" for byte in piece)
        return text.encode()

    return WORD.sub(read, value).decode()


def _code_page(words: list[bytes], value: bytes, country: str) -> str:
    own = CODE_PAGES.get(country, "cp1252")
    if own in EAST_ASIAN and _is_valid(value, own):
        return own
    fewest = 4 if own in OTHER_LATIN else 2
    if any(FOUR_IN_A_ROW.search(word) or (len(word) >= fewest and not LETTER.search(word)) for word in words):
        return own if own in OWN_SCRIPTS else "cp1251"
    if any(map(LETTER.search, words)):
        return own if own in OTHER_LATIN else "cp1252"
    return "cp1252" if own in EAST_ASIAN else own


def _is_valid(value: bytes, page: str = "utf-8") -> bool:
    try:
        value.decode(page)
    except UnicodeDecodeError:
        return False
    return True


Named = tuple[str, str]
"""Source and medium."""

CLICK_IDS: dict[str, Named] = {
    "gclid": ("google", "cpc"),
    "gbraid": ("google", "cpc"),
    "wbraid": ("google", "cpc"),
    "yclid": ("yandex", "cpc"),
    "ymclid": ("yandex", "cpc"),
    "msclkid": ("bing", "cpc"),
    "bd_vid": ("baidu", "cpc"),
    "napm": ("naver", "cpc"),
    "li_fat_id": ("linkedin", "paid_social"),
    "twclid": ("x", "paid_social"),
    "rdt_cid": ("reddit", "paid_social"),
    "epik": ("pinterest", "paid_social"),
    "sccid": ("snapchat", "paid_social"),
    "ttclid": ("tiktok", "paid_social"),
    "qclid": ("quora", "paid_social"),
    "ndclid": ("nextdoor", "paid_social"),
    "rb_clickid": ("vk", "paid_social"),
    "dclid": ("google", "cpm"),
    "yj_r": ("yahoo", "display"),
    "tblci": ("taboola", "display"),
    "dicbo": ("outbrain", "display"),
    "obclid": ("outbrain", "display"),
    "ob_click_id": ("outbrain", "display"),
    "irclickid": ("impact", "affiliate"),
    "irclid": ("impact", "affiliate"),
    "cjevent": ("cj", "affiliate"),
    "awc": ("awin", "affiliate"),
    "ransiteid": ("rakuten", "affiliate"),
    "tduid": ("tradedoubler", "affiliate"),
    "fbclid": ("facebook", "social"),
}
"""Each known click id; where an address has several, the first one here decides. Facebook puts fbclid on unpaid links too."""

AD_SIGNS: dict[str, Named] = {
    "gad_source": ("google", "cpc"),
    "gad_campaignid": ("google", "cpc"),
    "n_ad": ("naver", "cpc"),
}
"""What tells of an advertisement and of nobody's click: it stays where a browser cuts the click id off."""

FREE_SIGNS: dict[str, Named] = {
    "srsltid": ("google", "organic"),
    "ysclid": ("yandex", "organic"),
    "igsh": ("instagram", "social"),
    "igshid": ("instagram", "social"),
    "mc_cid": ("mailchimp", "email"),
    "mc_eid": ("mailchimp", "email"),
    "_kx": ("klaviyo", "email"),
    "_hsenc": ("hubspot", "email"),
    "_hsmi": ("hubspot", "email"),
    "mkt_tok": ("marketo", "email"),
    "elqtrackid": ("eloqua", "email"),
    "et_rid": ("salesforce", "email"),
    "dm_i": ("dotdigital", "email"),
    "ml_subscriber": ("mailerlite", "email"),
    "ml_subscriber_hash": ("mailerlite", "email"),
    "vero_id": ("vero", "email"),
    "ck_subscriber_id": ("convertkit", "email"),
    "_bhlid": ("beehiiv", "email"),
    "bsft_uid": ("blueshift", "email"),
    "oly_enc_id": ("omeda", "email"),
}
"""Of listings, shared posts and letters that nobody pays by the click. People pass such links on, so a referrer knows better."""

WITHHELD = "-"
"""What a page without consent puts in the place of a click id: it tells the source, and names nobody."""

YAHOO_JAPAN = ("YSS.", "YJAD.")
"""How click ids of Yahoo! JAPAN begin, which are called `yclid` like those of Yandex."""


def network_of(click_id: str, value: str, country: str) -> Named:
    """Who gave out a click id.

    Args:
        country: the project's: it decides where the value is withheld.
    """
    if click_id == "yclid" and (value.startswith(YAHOO_JAPAN) or (value == WITHHELD and country == "JP")):
        return "yahoo", "cpc"
    return CLICK_IDS[click_id]


PERSONAL = """
    gclsrc dclid srsltid _ga _gl _gac _gcl_aw _gcl_au igshid igsh _fbp _fbc twclid li_fat_id epik rdt_cid
    sccid sc_customer sc_eh sc_uid ymclid ysclid _openstat _ym_uid roistat_visit
    mc_eid mkt_tok _hsenc __hssc __hstc __hsfp hsctatracking _kx __s vero_id vero_conv wickedid _bhlid
    oly_anon_id oly_enc_id ml_subscriber ml_subscriber_hash ss_email_id ck_subscriber_id vgo_ee elqtrackid dm_i
    bsft_clkid bsft_uid oft_c oft_ck oft_d oft_id oft_ids oft_k oft_lk oft_sk
    s_cid s_kwcid ef_id irclickid clickid click_id cjevent rb_clickid unicorn_click_id
    dicbo obclid tblci vmcid guce_referrer guce_referrer_sig _branch_match_id _branch_referrer at_recipient_id at_recipient_list
    bbeml et_rid fb_action_ids fb_comment_id h_sid h_slt mtm_cid pk_cid
"""
"""What Firefox and Brave take out of links to any site (their published lists of query parameters), and others of the same kind."""

IDENTIFIERS = frozenset((*PERSONAL.split(), *CLICK_IDS))
NAME = re.compile(r"(?:^|[?&;#])([^=?&;#]*)=")
MOST_CODED_ADDRESSES = 4
"""How often a parameter is decoded in search of an address in it, as in `?next=%2Fa%3Fgclid%3Dx`."""


def without_identifiers(address: str) -> str:
    """The address without the parameters that are an identifier of one person, or an address with one, and without a fragment; nothing else
    of it changes."""
    head, question, query = address.partition("#")[0].partition("?")
    kept = []
    for parameter in query.split("&"):
        readings = [parameter]
        for _ in range(MOST_CODED_ADDRESSES - 1):
            readings.append(unquote_plus(readings[-1]))
        if IDENTIFIERS.isdisjoint(name.strip().casefold() for text in readings for name in NAME.findall(text)):
            kept.append(parameter)
    return head + question + "&".join(kept) if kept else head
