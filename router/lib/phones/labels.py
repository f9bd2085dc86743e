"""What stands around numbers on web pages and makes them no telephone number that may be replaced: labels (Fax, order no.), links to
messengers, dates, prices and the like. The tag gets it with its answer.

Regular expressions of JavaScript, with the flags i, s and u; they have no lookbehind, which Safari knows only since 16.4."""

import re
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneMetadata

_BETWEEN = r"\s)\].\-/~·\0\xad\u200b-\u2069−ー）．－／"
NUMBER = rf"(?:[([（](?=\+?[\d ]+[)\]）]\D{{0,6}}\d))?\+?[([]?\d(?:[([（{_BETWEEN}]{{0,6}}\d){{0,5}}(?:[{_BETWEEN}]{{0,6}}\d)+"
"""Digits with what stands between the digits of a number: no bracket opens late in one. NUL is the seam of two texts of an element; the
range holds marks of writing direction, dashes, bullets and narrow spaces; the last ones stand on Japanese pages."""
TELEPHONE = (
    "t", "p", "m", "ph", "tel(?!e[fg][ar])\\p{L}*", "tél\\p{L}*", "(?:tele)?phone", "fon", "mob\\p{L}*", "handy",
    "cell", "call", "puh", "tlf", "т", "тел\\p{L}*", "моб", "τηλ", "電話", "电话", "טלפון", "هاتف", "تلفن",
)  # fmt: skip
FAX = (
    "f", "(?:tele|e-?)?fax", "(?:tele)?faks\\p{L}*", "t[eé]l[eé]copie(?:ur)?", "ф", "(?:теле)?факс", "φαξ", "传真",
    "傳真", "ファッ?クス", "팩스", "פקס", "فا[کك]س", "โทรสาร",
)  # fmt: skip
MESSENGERS = (
    "whats ?app", "viber", "telegram", "signal", "we ?chat", "微信", "line ?id", "kakao(?:talk)?", "zalo", "skype",
    "messenger", "threema", "sms", "в[ао]т?сап\\p{L}*", "вайбер", "телеграмм?", "смс", "واتساب",
)  # fmt: skip
IDENTIFIERS = (
    # taxes and registers
    "tax(?:payer)? ?id", "tin", "vat", "ust(?:-?id)?", "mwst", "uid", "steuer(?:-?id)?", "idnr", "nif", "cif", "rfc",
    "cui[tl]", "cnpj", "cpf", "ru[tc]", "rif", "nit", "sire[nt]", "rcs", "tva", "p\\.? ?iva", "c\\.f\\.", "btw", "kvk", "nip",
    "regon", "krs", "i[čc]o", "d[ií][čc]", "инн", "кпп", "огрн(?:ип)?", "окпо", "єдрпоу", "унп", "бин", "abn", "acn",
    "gst(?:in)?", "npwp", "oib", "cvr", "hr[ab]", "duns", "eori", "npi", "dre", "nmls", "lic(?:en[cs]e)?", "лицензия",
    # banks
    "iban", "bic", "swift", "blz", "konto", "kto", "sort code", "bsb", "clabe", "cbu", "[рк]/с", "бик", "сч[её]т",
    # places and things
    "zip", "plz", "cep", "индекс", "p\\.?o\\.? ?box", "postfach", "id(?=:)", "isbn", "issn", "ean", "gtin", "sku",
    "арт(?:икул)?",
)  # fmt: skip
NAMED_NUMBERS = (
    "id", "st\\.?", "org", "order", "invoice", "customer", "client", "case", "ticket", "ref(?:eren[cz])?e?",
    "arti[ck](?:le|el)", "item", "serial", "model", "part", "tracking", "account", "member", "policy",
    "reg(?:istration)?", "contract", "routing", "bestell", "auftrags", "rechnungs", "kunden",
    "vorgangs", "vertrags", "mitglieds", "policen", "serien",
    "commande", "facture", "pedido", "factura", "expediente", "ordine", "fattura", "заказа?", "договора?",
)  # fmt: skip
"""What has a number, when a word for number follows: *Order no. 123*, but not *Order by phone*."""
NUMBER_WORDS = ("no", "nr", "num(?:ber|mer|ero)", "n[°º]", "№", "#", "id", "номер", "num[eé]ro", "número")
EXTENSIONS = (
    "x", "ext\\w*", "int(?:erno?)?", "доб\\S*", "вн(?:утр)?\\S*", "durchwahl", "dw", "kl(?:appe)?", "nst", "poste",
    "anexo", "ramal", "wew\\S*", "toestel", "dahili", "[內内][線线]", "[转轉]",
)  # fmt: skip
NO_WORD = "[^\\p{L}\\d]"


def _any(words: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(words)})"


_NUMBER_WORD = f"(?:{NO_WORD}{{0,2}}{_any(NUMBER_WORDS)})"
_OTHER_LINE = f"{_any(FAX + MESSENGERS)}{_NUMBER_WORD}?"
_IDENTIFIER = f"(?:{_any(IDENTIFIERS)}{_NUMBER_WORD}?|{_any(NAMED_NUMBERS)}{_NUMBER_WORD})"
_BEGINS = f"(?:^|{NO_WORD})"
_TELEPHONE_AND = f"{_BEGINS}{_any(TELEPHONE)}{NO_WORD}{{1,3}}(?:\\p{{L}}{{1,5}}{NO_WORD}{{1,3}})?"
_BEHIND_NUMBER = r"\d\s?[(\[]"  # of the number before: 030 1234567 (Fax), …
LABEL = (
    f"^(?!.*(?:{_TELEPHONE_AND}|{_BEHIND_NUMBER}){_OTHER_LINE}{NO_WORD}*$).*{_BEGINS}"
    f"(?:{_OTHER_LINE}(?: ?\\([^)]*\\))?(?: (?:at|to|an|unter|au|al))?|{_IDENTIFIER})[^\\p{{L}}\\d,;]{{0,8}}$"
)
"""A label right before a number, at the end of a text. One that names a telephone as well (*Tel./Fax*, *Phone and WhatsApp*) is a
telephone's."""
BEFORE = "|".join(
    (
        r"[\w+=@&#№]$",  # a part of a word, an address, another number
        r"\w/$",
        r"^ [+(]*\d{1,5}[)-]?\s*$",  # the beginning of a number, in an element of its own
        LABEL,
    )
)
AFTER = "|".join(
    (
        r"^[\w@]",
        rf"^[\s,;.(]*(?:{_any(EXTENSIONS)}|#)[\s.:#=]*[\d|]",
        r"^[,;/]\d{1,5}(?!.?\d)\b",  # 0711 123456/57
        rf"^[^\p{{L}}\d]{{0,2}}[(\[]\s*{_any(FAX + MESSENGERS)}(?![\p{{L}}\d])",
    )
)
INLINE = "^(?:(A|B|EM|I|SMALL|SPAN|STRONG|SU[BP]|#text)|[TD][TDH])$"
"""Nodes in whose neighbours a label may stand: parts of a line, and cells of a table or list; digits count in the former only."""
NEVER = ",".join(
    (
        "script,style,noscript,title,textarea,input,select",
        *(
            f'[href^="{scheme}:" i]'
            for scheme in ("sms", "mms", "mailto", "viber", "fax", "skype", "tg", "sgnl", "facetime")
        ),
        *(
            f'[href*="{host}" i]'
            for host in ("whatsapp", "wa.me", "//t.me/", "//telegram.", "//signal.", "//zalo.me", "//line.me")
        ),
    )
)
"""Elements whose texts stay: what is no text of the page, and links to messengers, SMS, fax and e-mail."""

_MONTH = r"(?:0?[1-9]|1[0-2])"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:19|20)\d\d"
_START = r"(?:^|[^\d.,/+-])"
_END = r"(?![./-]?\d)"
_CURRENCY = "(?:\\p{Sc}|[ACNRS]\\$|US\\$|HK\\$|eur|usd|gbp|chf|sek|nok|dkk|pln|czk|huf|ron|rub|uah|inr|rs|aed|sar|zar|brl|mxn|jpy|cny)"
_CURRENCY_AFTER = (
    "(?:\\p{Sc}|eur|usd|gbp|chf|sek|nok|dkk|pln|zł|kč|huf|ft|ron|lei|rub|руб|р\\.|тг|грн|inr|aed|sar|zar|,-)"
)
OTHER = (
    rf"{_START}{_YEAR}[-./]{_MONTH}[-./]{_DAY}(?:T\d\d)?{_END}",
    rf"{_START}(?:{_DAY}[-./]{_MONTH}|{_MONTH}[-./]{_DAY})[-./]{_YEAR}{_END}",
    rf"(?:©|\(c\)|copyright|since|seit|depuis|desde|dal|с)\s*{_YEAR}(?:\s*[-–—/,]\s*\d{{2,4}})?",
    r"\d?\d[:h]\d\d(?::\d\d)?",
    r"(?:^|[^\d.])\d?\d\.\d\d\s*(?:uhr|h)?\s*[-–—]\s*\d?\d\.\d\d(?![\d.])",
    r"\d{2}[:.]?\d\d\s*[-–—]\s*\d{2}[:.]?\d\d\s*(?:uhr|hrs?|h)(?![\p{L}])",
    rf"{_CURRENCY}\s?(?:\d{{4,12}}|\d{{1,3}}(?:[\s.,’']\d{{3}}(?!\d|-\d))*)(?!\d)(?:[.,]\d\d(?!\d))?",
    rf"(?:^|[^\d\s.-]\s*|[\p{{L}}:]\s)\d{{1,3}}(?:[\s.’']\d{{3}})+(?:,\d\d)?\s*{_CURRENCY_AFTER}(?![\p{{L}}])",
    rf"\d{{4,12}}\s?{_CURRENCY_AFTER}(?![\p{{L}}])",
    r"(?:^|[^\p{L}\d])[a-z]{2}\d\d(?:\s?[a-z\d]{4}){3,7}(?:\s?[a-z\d]{1,3}(?![a-z\d]))?",  # IBAN
    r"-?(?:\d|[1-9]\d|1\d\d)[.,]\d{3,9}\s?°?\s?[nsewo]?\s*[,;/ ]\s*[nsewo]?\s?-?(?:\d|[1-9]\d|1\d\d)[.,]\d{3,9}",
    r"\d{1,3}(?:[.,]\d+)?\s?°[\d\s.,'′’\x22″”°]*",
    r"(?:^|[^\d.])\d\d\.\d{3}\.\d{3}/\d{4}-\d\d",  # Brazil's companies, persons, Chile, Colombia, Venezuela
    r"(?:^|[^\d.])\d{3}\.\d{3}\.\d{3}-\d\d?(?!\d)",
    r"(?:^|[^\d.])\d{1,2}\.\d{3}\.\d{3}-[\dk](?![\d\p{L}])",
    r"(?:^|[^\p{L}])[jvegp]-?\d{8}-\d(?!\d)",
    r"(?:^|[^\d.])\d\d-\d{8}-\d(?![\d-])",
)
"""What is blanked in an element before numbers are looked for: dates, times, years, prices, IBANs, coordinates, tax ids."""
POSTCODES = {
    "BR": r"(?:^|[^\d\s()+.-])\s*\d{5}-\d{3}(?![\d-])",
    None: r"(?:^|[^\d\s()+.-])\s*[1-9]\d{4}-\d{4}(?![\d-])",
}
"""Brazil's (01310-100), whose telephone numbers look like those of other countries (94110-1234)."""
LIKE_NUMBERS = {
    "20242026": rf"(?:^|[^\d.-]){_YEAR}\s?[-–—/]\s?{_YEAR}(?![./-]?\d)",  # 2024-2026
    "291126": rf"(?:^|[^\d\s.,/+-])\s*(?:{_DAY}[./]{_MONTH}|{_MONTH}[./]{_DAY})[./]\d\d{_END}",  # 29.11.26
}
"""What is blanked except where telephone numbers look so."""


@lru_cache(maxsize=512)
def page_rules(country: str | None) -> dict[str, str]:
    """What the tag leaves alone on the pages of a project's country.

    `number`: what looks like one. `never`: a selector of elements whose texts stay. `before` and `after`: what stands before and after a
    number that stays; `inline`: names of nodes beside which it stands. `other`: what is no number. All but `never` are regular expressions.
    """
    known = PhoneMetadata.metadata_for_region(country, None) if country in phonenumbers.SUPPORTED_REGIONS else None
    numbers = (known and known.general_desc and known.general_desc.national_number_pattern) or ""
    like_numbers = [
        pattern
        for digits, pattern in LIKE_NUMBERS.items()
        if (known and known.national_prefix) or not re.fullmatch(numbers, digits)
    ]
    return {
        "number": NUMBER,
        "never": NEVER,
        "inline": INLINE,
        "before": BEFORE,
        "after": AFTER,
        "other": "|".join([*OTHER, POSTCODES.get(country, POSTCODES[None]), *like_numbers]),
    }
