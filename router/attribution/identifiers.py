"""Identifiers of one person in addresses (R14): parameters that name a click, a browser or a subscriber. UTM and campaign ids do not."""

import re
from urllib.parse import unquote_plus

from router.attribution.clicks import CLICK_IDS

NAMES = """
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

IDENTIFIERS = frozenset((*NAMES.split(), *CLICK_IDS))
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
