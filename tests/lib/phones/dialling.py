"""What happens when somebody dials what a page shows, and how the world writes a number: written without the code that is tested."""

import random
import re
from collections.abc import Iterator

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumberFormat, PhoneNumberType

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
KINDS = (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.TOLL_FREE)
SEPARATORS = ("-", ".", "/", " / ", " – ", "\u00a0", "\u2009", "\u202f", "·")
LONGEST = 12
"""National digits; longer ones are a few service numbers."""


def plan(region: str) -> PhoneMetadata:
    found = PhoneMetadata.metadata_for_region(region, None)
    assert found is not None
    return found


def numbers_of(region: str, chance: random.Random, tries: int = 8) -> list[str]:
    """Valid numbers of a region, E.164: of several kinds, of all lengths that it has."""
    code, general = plan(region).country_code, plan(region).general_desc
    assert general is not None
    found = set()
    for kind in KINDS:
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None:
            continue
        digits = phonenumbers.national_significant_number(example)
        if len(digits) <= LONGEST:
            found.add(f"+{code}{digits}")
        for _ in range(tries):
            length = min(chance.choice(general.possible_length), LONGEST, 15 - len(str(code)))
            kept = digits[: max(2, length - chance.randint(2, 6))][:length]
            made = f"+{code}{kept}{''.join(chance.choices('0123456789', k=length - len(kept)))}"
            if is_whole(made):
                found.add(made)
    return sorted(found)


def is_whole(e164: str) -> bool:
    try:
        number = phonenumbers.parse(e164)
    except NumberParseException:
        return False
    same = phonenumbers.format_number(number, PhoneNumberFormat.E164) == e164
    return same and phonenumbers.is_valid_number(number)


def ways_to_write(e164: str, region: str, chance: random.Random) -> Iterator[str]:
    """With country code, with a bracketed trunk prefix, with an international prefix, nationally, with neither; grouped in some way."""
    number, metadata = phonenumbers.parse(e164), plan(region)
    digits, code = phonenumbers.national_significant_number(number), str(number.country_code)
    abroad = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    at_home = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    rest, trunk = abroad.removeprefix(f"+{code}").strip(" -"), metadata.national_prefix or ""
    ways = [abroad, at_home, e164, re.sub(r"\D", "", at_home), f"00{abroad[1:]}", f"00 {abroad[1:]}", abroad[1:], rest]
    if trunk not in ("", code) and re.sub(r"\D", "", at_home) == trunk + digits:
        ways += [
            f"+{code} ({trunk}){rest}",
            f"+{code}-({trunk})-{rest}",
            f"+{code} [{trunk}] {rest}",
            f"{trunk}/{rest}",
        ]
        ways += [f"+{code} {trunk}{rest}", f"00{code} ({trunk}) {rest}", f"({trunk}) {rest}"]
    prefix = metadata.preferred_international_prefix or metadata.international_prefix or ""
    if re.fullmatch(r"[\d~]+", prefix):
        ways.append(f"{prefix} {abroad[1:]}")
    for way in ways:
        separator = chance.choice((" ", *SEPARATORS))
        yield re.sub(r"(?<=[\d)\]])[ -]+(?=\d)", separator, way) if chance.random() < 0.6 else way


def reached(shown: str, region: str) -> set[str]:
    """The numbers that somebody may reach who dials this in a country, or from abroad what begins with a plus, 00 or 011.

    Behind a country code, a trunk prefix in brackets is left out and one without brackets is dialled.
    """
    trunk, digits = plan(region).national_prefix or "", re.sub(r"\D", "", shown)
    bracketed = rf"\D*(?:\+|00|011)\D?(\d{{1,3}})\D?\s*[(\[]\s*{trunk}\s*[)\]](.*)$"
    if trunk and (found := re.match(bracketed, shown, re.DOTALL)):
        return {"+" + re.sub(r"\D", "", found[1] + found[2])}
    if re.match(r"\D*\+", shown):
        return {f"+{digits}"}
    found_numbers = {f"+{digits.removeprefix(prefix)}" for prefix in ("00", "011") if digits.startswith(prefix)}
    try:
        number = phonenumbers.parse(digits, region)
    except NumberParseException:
        return found_numbers
    return found_numbers | {phonenumbers.format_number(number, PhoneNumberFormat.E164)}
