"""Hides phone numbers in logs."""

import re

PHONE = re.compile(
    r"(?:\+|%2[Bb])\d[\d ().\-/]{5,20}\d"
    r"|(?:(?<=\bsip:)|(?<=\bsips:)|(?<=\btel:)|(?<=\bcallto:))\d[\d().\-]{3,20}\d"
    r"|(?<![\w.:\-+])\d{10,15}(?![\w:\-])",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """For logs: `+14155552671` becomes `+14…71`, wherever it stands in the text, also in a SIP or tel address. Dates and
    ids stay."""

    def hide(found: re.Match[str]) -> str:
        number = found.group()
        sign = "" if number[0].isdigit() else "+"
        digits = re.sub(r"\D", "", re.sub("^%2[Bb]", "", number))
        return f"{sign}{digits[:2]}…{digits[-2:]}"

    return PHONE.sub(hide, text)
