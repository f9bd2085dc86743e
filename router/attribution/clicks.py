"""What advertisements, letters and listings add to an address: each parameter with the network behind it. The names are those that the
networks document, case-folded (Snapchat writes `ScCid`); docs/attribution.md holds the table for people.

Parameters that name one person (R14): a click, a browser or a subscriber. UTM and campaign ids do not."""

import re
from urllib.parse import unquote_plus

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
MOST_CODED = 4
"""How often a parameter is decoded in search of an address in it, as in `?next=%2Fa%3Fgclid%3Dx`."""


def without_identifiers(address: str) -> str:
    """The address without the parameters that name one person, and without a fragment; nothing else of it changes."""
    head, question, query = address.partition("#")[0].partition("?")
    kept = [one for one in query.split("&") if not _names_somebody(one)]
    return head + question + "&".join(kept) if kept else head


def _names_somebody(parameter: str) -> bool:
    """It is an identifier, or its value is an address with one."""
    for _ in range(MOST_CODED):
        if any(name.strip().casefold() in IDENTIFIERS for name in NAME.findall(parameter)):
            return True
        parameter = unquote_plus(parameter)
    return False
