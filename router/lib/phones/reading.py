"""Reads phone numbers at the edge: what a person, a program or a file wrote, a company line, what a carrier says, also when it says that
the caller hides his number; and the numbers in a free text, such as a field of a CRM that was meant for one.
docs/numbers.md has the contract and a table of cases."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from urllib.parse import unquote

import phonenumbers
from phonenumbers import CountryCodeSource, NumberParseException, PhoneNumberFormat, PhoneNumberType

from router.lib.phones.lines import line_of, spellings_of_line
from router.lib.phones.showing import international, is_valid, parsed

# Carriers' words (twilio.com/docs/voice/twiml, RFC 3323), and what telephones, exchanges and call tracking services write into their
# logs, by language.
_PHRASES = """
anonymous, unknown, unavailable, restricted, private, blocked, withheld, hidden, undisclosed, suppressed, unlisted, none, null, nil, n/a,
na, no caller id, no callerid, no cid, no cli, no id, no number, no data, not available, not provided, not set, out of area, private number,
private caller, private call, blocked number, blocked caller, blocked call, unknown number, unknown caller, unknown name, unknown unknown,
restricted number, restricted caller, hidden number, hidden caller, anonymous caller, anonymous call, number withheld, withheld number,
caller withheld, caller id blocked, caller id withheld, caller id unavailable, caller unknown, number unavailable, number not available,
name unavailable, unavailable caller, unavailable number,

unbekannt, anonym, unterdrückt, unterdrueckt, privat, verborgen, ausgeblendet, keine nummer, keine rufnummer, ohne rufnummer, ohne nummer,
rufnummer unterdrückt, nummer unterdrückt, rufnummer unterdrueckt, unterdrückte rufnummer, unterdrückte nummer, private nummer,
unbekannte nummer, unbekannte rufnummer, unbekannter anrufer, unbekannter teilnehmer, anonymer anruf, anonymer anrufer, anrufer unbekannt,
nicht verfügbar, nicht übermittelt, rufnummer nicht übermittelt, keine angabe,

anonyme, masqué, masque, privé, prive, inconnu, secret, numéro masqué, numero masque, numéro privé, numero prive, numéro inconnu,
numero inconnu, numéro secret, numéro anonyme, appel masqué, appel anonyme, appelant inconnu, appelant anonyme, non disponible,
indisponible,

anónimo, anonimo, privado, desconocido, oculto, restringido, confidencial, número privado, numero privado, número oculto, numero oculto,
número desconocido, numero desconocido, número anónimo, llamada anónima, llamada oculta, sin número, sin identificar, no disponible,
desconhecido, restrito, bloqueado, número desconhecido, número restrito, número oculto, não identificado, nao identificado, indisponível,
não disponível, chamada anônima, anônimo,
sconosciuto, privato, nascosto, riservato, numero privato, numero sconosciuto, numero nascosto, numero anonimo, numero riservato,
chiamata anonima, non disponibile,
anoniem, onbekend, afgeschermd, anoniem nummer, onbekend nummer, afgeschermd nummer, geen nummer, privénummer, privenummer,
niet beschikbaar,

неизвестно, неизвестен, неизвестный, скрыт, скрыто, скрытый, аноним, анонимный, анонимно, антиаон, не определен, не определён,
не определился,
скрытый номер, номер скрыт, неизвестный номер, номер неизвестен, номер не определен, номер не определён, неизвестный абонент,
анонимный вызов, анонимный звонок, анонимный номер, без номера, нет номера, номера нет, нет данных,
невідомо, невідомий, прихований, анонім, анонімний, прихований номер, невідомий номер, номер прихований, номер не визначено,
nieznany, prywatny, anonimowy, ukryty, zastrzeżony, zastrzezony, numer prywatny, numer zastrzeżony, numer zastrzezony, numer ukryty,
numer nieznany, nieznany numer, brak numeru,
neznámé, neznámý, skryté, anonymní, neznámé číslo, skryté číslo, soukromé číslo, neznáme číslo, súkromné číslo,
bilinmeyen, gizli, gizli numara, bilinmeyen numara, özel numara,
okänd, hemligt, skyddat, dolt, okänt nummer, hemligt nummer, skyddat nummer, dolt nummer, ukjent, skjult, ukjent nummer, skjult nummer,
ukendt, ukendt nummer, hemmeligt nummer, tuntematon, salainen, tuntematon numero, salainen numero
"""
PHRASES = frozenset(phrase.strip() for phrase in _PHRASES.replace("\n", " ").split(","))

# The words as a telephone's keypad writes them, which carriers send as if they were numbers.
KEYPAD = frozenset(
    {
        "266696687",  # ANONYMOUS
        "7378742833",  # RESTRICTED
        "2562533",  # BLOCKED
        "8656696",  # UNKNOWN
        "8566696",  # UNKNOWN, as some write it
        "86282452253",  # UNAVAILABLE
        "94844353",  # WITHHELD
        "7748283",  # PRIVATE
        "464",  # (no caller) ID, INFO
    }
)
NOISE = re.compile(r"^[\W_]+|[\W_]+$")


def is_withheld(text: str | None) -> bool:
    """Whether a carrier, a telephone or a call log says by this that there is no number: nothing, a word, or a word's keypad code."""
    words = NOISE.sub("", " ".join((text or "").split())).casefold()
    if words in PHRASES or words == "" or "anonymous" in words:
        return True
    digits = re.sub(r"^\+?1?", "", (text or "").strip(), count=1)
    number = (text or "").strip().removeprefix("+")
    return bool(re.fullmatch("0+|10{9,}", number)) or number in KEYPAD or digits in KEYPAD


SIP = re.compile(
    r"sips?:[A-Za-z0-9._+\-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,252}[A-Za-z0-9])?(?::\d{1,5})?(?:;[A-Za-z0-9=;.\-]{1,64})?"
)
E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
ADDRESS = re.compile(r"<?\s*(?:sips?|tel):(?://)?([^@;>?]*)", re.IGNORECASE)
"""The user part of a SIP or tel address, also of one in angle brackets behind a display name."""
SEPARATORS = re.compile(r"[\s().\-‐-―−/]+")
LETTER = re.compile(r"[^\W\d_]")
VANITY_TYPES = (
    PhoneNumberType.TOLL_FREE,
    PhoneNumberType.SHARED_COST,
    PhoneNumberType.PREMIUM_RATE,
    PhoneNumberType.UAN,
)

LONGEST_CALLER = 250


class BadPhone(ValueError):
    """Not a phone number that can be called; the message is for the person who typed it."""


class AmbiguousPhone(BadPhone):
    """A number without a plus that can be read in two ways. `readings`: both, E.164, the national one first."""

    def __init__(self, text: str, readings: Sequence[str]) -> None:
        shown = " or ".join(international(reading) for reading in readings)
        super().__init__(
            f"“{text.strip()[:40]}” can be read as {shown}. Write it with + and its country code, like {readings[0]}."
        )
        self.readings = tuple(readings)


@dataclass(frozen=True)
class Caller:
    """Who calls: an identified E.164 number, or withheld (`e164` is None). `raw` is what the carrier said."""

    e164: str | None
    raw: str
    forgotten: int | None = None
    """The id of the forgetting that erased both: calls that have it in common are one caller's, nobody knows whose."""

    @property
    def withheld(self) -> bool:
        return self.e164 is None and self.forgotten is None


def read_phone(text: str, country: str | None = None) -> str:
    """E.164 of a number that a person, a program or a file wrote, read with the project's country.

    Raises:
        BadPhone: it is no valid number.
        AmbiguousPhone: it has no plus, and two readings are valid.
    """
    readings = readings_of(text, country)
    if len(readings) > 1:
        raise AmbiguousPhone(text, readings)
    if readings:
        return readings[0]
    what = "a valid phone number" if _parsed(text, country) else "a phone number"
    raise BadPhone(f"“{text.strip()[:40]}” is not {what}. Write it with its country code, like +14155552671.")


def phone_or(text: str, country: str = "", *, otherwise: str = "") -> str:
    """As `read_phone`; `otherwise` when it is no number."""
    try:
        return read_phone(text, country)
    except BadPhone:
        return otherwise


def readings_of(text: str, country: str | None = None) -> tuple[str, ...]:
    """The valid readings of a written number, E.164: none, one, or the national and the international one.

    One reading have: numbers with `+` or an international prefix (00, 011), with their country's trunk prefix (0711 …), grouped like
    national numbers ((646) 555-1234), or beginning with the country's own code (4930…, in Germany).
    """
    number = _parsed(text, country)
    if number is not None and not _are_letters_meant(text, number):
        return ()
    national = _valid(number)
    if number is None or number.country_code_source == CountryCodeSource.FROM_NUMBER_WITH_PLUS_SIGN:
        return (national,) if national else ()
    digits = _digits(text)
    plus = "" if LETTER.search(text) else _valid(_parsed("+" + digits, None))
    if not plus or plus == national:
        return (national,) if national else ()
    if not national or _is_own_code(digits, plus, country):
        return (plus,)
    nsn = phonenumbers.national_significant_number(number)
    if digits != nsn and digits.endswith(nsn):
        is_national = digits.removesuffix(nsn) == _trunk_prefix(number)
    else:  # in groups as the country groups them
        usual = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        groups = re.findall(r"\d+", text)
        is_national = len(groups) > 1 and groups == re.findall(r"\d+", usual)
    return (national,) if is_national else (national, plus)


def _are_letters_meant(text: str, number: phonenumbers.PhoneNumber) -> bool:
    """Whether letters behind the first digit are an extension's word or a vanity number (1-800-FLOWERS). The library takes three letters
    and more for digits, and drops fewer: `030 7664398 privat` would be a valid number of 15 digits."""
    digits = re.search(r"\d.*", text, re.DOTALL)
    if digits is None or not LETTER.search(digits.group()):
        return True
    written, nsn = _digits(text), phonenumbers.national_significant_number(number)
    if number.extension:
        return written.endswith(nsn + number.extension)
    if nsn in written:
        return not re.search(r"\d[^\d]*[^\W\d_][^\d]*\d", digits.group())
    return number.country_code == 1 or phonenumbers.number_type(number) in VANITY_TYPES


def read_destination(text: str, country: str | None = None) -> str:
    """A company line: an E.164 number, or a SIP address as it stands.

    Raises:
        BadPhone: it is neither.
    """
    text = text.strip()
    if text.lower().startswith(("sip:", "sips:")):
        if not SIP.fullmatch(text):
            raise BadPhone(f"“{text[:60]}” is not a SIP address like sip:sales@pbx.example.com.")
        return text
    return read_phone(text, country)


def read_caller(raw: str | None, country: str | None = None) -> Caller:
    """Who calls, as a carrier says it: identified when it is E.164-shaped after reading and none of the words and keypad codes for a
    withheld number. Whether the tables of numbering plans know the number does not matter: they are older than the newest numbers.

    Args:
        country: of the dialled number; reads a caller that came in its national form.
    """
    return _read_caller((raw or "").strip()[:LONGEST_CALLER], country)


@lru_cache(maxsize=8192)
def _read_caller(raw: str, country: str | None) -> Caller:
    readings = () if is_withheld(user_part(raw)) else _carrier_readings(raw, country)
    return Caller(readings[0] if readings else None, raw[:100])


@lru_cache(maxsize=8192)
def read_dialled(raw: str, country: str | None = None) -> tuple[str, ...]:
    """The numbers of ours that a carrier may mean by the dialled number it names, the likeliest first, for a look-up: what
    `+493090182011`, `sip:+493090182011@trunk.example.com`, `tel:+49…` and `493090182011` say, and `03090182011` in its country.

    Args:
        country: the dialled number's, when the carrier names it.
    """
    text = SEPARATORS.sub("", user_part(raw.strip()[:LONGEST_CALLER]))
    readings = _carrier_readings(text, country)
    if not text.startswith("+"):
        readings += tuple(filter(None, (_valid(_parsed(f"+{text}", None)), _valid(_parsed(text, country)))))
    return tuple(dict.fromkeys(spelling for reading in readings for spelling in spellings_of_line(reading)))


@lru_cache(maxsize=1024)
def read_dialled_anywhere(raw: str) -> tuple[str, ...]:
    """What a dialled number in a national form is in each country in which it is valid; none for one with a plus."""
    text = SEPARATORS.sub("", user_part(raw.strip()[:LONGEST_CALLER]))
    if not re.fullmatch(r"\d{6,15}", text, re.ASCII):
        return ()
    readings = (_valid(_parsed(text, region)) for region in sorted(phonenumbers.SUPPORTED_REGIONS))
    return tuple(dict.fromkeys(filter(None, readings)))


def user_part(raw: str) -> str:
    """`+4930…` of `sip:+4930…@trunk.example.com:5061;transport=tls`, `"Bob" <sips:…>` and `tel:+4930…;phone-context=…`; another text
    as it is."""
    address = ADDRESS.search(raw)
    return unquote(address.group(1)).partition(":")[0].strip() if address else raw.strip()


def _carrier_readings(raw: str, country: str | None) -> tuple[str, ...]:
    """E.164-shaped readings, best first. There is nobody to ask, and a number always beats none."""
    text = SEPARATORS.sub("", user_part(raw))
    if not re.fullmatch(r"\+?\d{3,17}", text, re.ASCII):
        return ()
    if text.startswith("+"):
        with suppress(NumberParseException):
            usual = phonenumbers.format_number(parsed(text), PhoneNumberFormat.E164)
            if usual != text and is_valid(text):
                return (usual,)
        return _if_shaped(text)
    number = _parsed(text, country) if country else None
    national, plus = _valid(number), _valid(_parsed(f"+{text}", None))
    if number is not None and national and plus and not _is_own_code(text, plus, country):
        # a carrier that writes national numbers writes the trunk prefix, where the country has one
        trunk = _trunk_prefix(number)
        if not trunk or text.startswith(trunk) or trunk == str(number.country_code):
            return national, plus
    if plus or national:
        return _if_shaped(plus or national)
    if text.startswith("00"):
        return _if_shaped("+" + text[2:])
    if number is not None and phonenumbers.is_possible_number(number):
        return _if_shaped(phonenumbers.format_number(number, PhoneNumberFormat.E164))
    possible = _parsed(f"+{text}", None)
    return _if_shaped(f"+{text}") if possible is not None and phonenumbers.is_possible_number(possible) else ()


def _if_shaped(e164: str) -> tuple[str, ...]:
    return (e164,) if E164.fullmatch(e164) else ()


def _is_own_code(digits: str, plus: str, country: str | None) -> bool:
    """Whether digits without a plus, whose international reading is `plus`, begin with the country's own code."""
    code = str(phonenumbers.country_code_for_region(country or ""))
    return digits.startswith(code) and plus.startswith(f"+{code}")


def _trunk_prefix(number: phonenumbers.PhoneNumber) -> str:
    region = phonenumbers.region_code_for_country_code(number.country_code or 0)
    return phonenumbers.ndd_prefix_for_region(region, True) or ""


def _parsed(text: str, country: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(text, country or None, keep_raw_input=True)
    except NumberParseException:
        return None


def _valid(number: phonenumbers.PhoneNumber | None) -> str:
    """E.164 of a valid number, in the usual spelling of its line where only that one is valid; else empty."""
    if number is None:
        return ""
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    if phonenumbers.is_valid_number(number):
        return e164
    usual = line_of(e164)
    return usual if usual != e164 and phonenumbers.is_valid_number(phonenumbers.parse(usual, None)) else ""


def _digits(text: str) -> str:
    return "".join(str(int(sign)) for sign in text if sign.isdecimal())


WRITTEN = re.compile(r"[+(]?[\d(][\d\s().\-‐-―−/,;|+]*\d", re.ASCII)
"""A stretch of a text that may hold numbers: digits and what is written between digits."""
DIVIDERS = re.compile(r"[/,;|\n\r\t]+|\s{2,}|(?<=\d)[\s.\-]*(?=\+)|\s*(?=\((?!0\)))")
"""Where one number may end and another begin. All of it but the plus stands inside numbers as well."""
BEFORE_ZERO = re.compile(r"[\s.\-‐-―−]+(?=0)")
"""Where a trunk prefix may begin another number, when what stands there is no number as a whole, or two."""
ODD_SEPARATORS = "·•∙‧'’`´_*~\\"
FULL_WIDTH = 0xFEE0
INTERNATIONAL = ("+", "00")
FEWEST_DIGITS = 7
"""Fewer behind a plus are no number of any country."""
LONGEST_TEXT = 1000
MOST_PIECES = 12


def numbers_in(text: str, country: str | None = None) -> list[str]:
    """E.164 of every number that is written in a free text, in its order: `030 7654321 / 0151 23460002`, `+49 30 7664398 (Herr Meier)`.

    A number that has two readings gives both, and so does a row of digits that is one number or two.

    Of the pieces between dividers, the longest row that is a number comes first, then what follows it. A remark in brackets ends a
    number. Pieces that are numbers each by itself are not one number. A piece that is no number may be several with blanks between
    them, and one with a trunk prefix inside is one number or two.
    """
    plain = re.sub(r"(?<=\d):(?=\d)", " ", "".join(_plain_sign(sign) for sign in text[:LONGEST_TEXT]))
    read = cache(partial(readings_of, country=country))  # the same pieces are asked about again and again
    numbers: list[str] = []
    for stretch in WRITTEN.findall(plain):
        pieces = _pieces(DIVIDERS, stretch)
        before = ""
        while pieces:
            count = _longest_row(pieces, read)
            row = " ".join(pieces[:count])
            parts = pieces[:count] if count > 1 else _pieces(BEFORE_ZERO, row)
            finer = parts if len(parts) > 1 else row.split()
            if not read(row) and (len(finer) > 1 or row.startswith(INTERNATIONAL)):
                begins_a_number = len(finer) > 1
                if finer[0].startswith(INTERNATIONAL):
                    # without a number behind this country code, nothing there is a number of this country
                    ends = range(1, len(finer))
                    begins_a_number = any(read(" ".join(finer[:end])) for end in ends)
                if begins_a_number:
                    pieces = [*finer[:MOST_PIECES], *pieces[1:]]
                else:  # a country code that stands alone takes the next piece with it
                    is_code = sum(map(str.isdigit, pieces[0])) < FEWEST_DIGITS
                    pieces = pieces[2 if is_code else 1 :]
                continue
            if count == 1:
                numbers += read(_with_area_of(before, row))
            alone = [read(part) for part in parts] if len(parts) > 1 else []
            if count == 1 or not all(alone):
                numbers += read(row)
            if all(alone):
                numbers += [reading for readings in alone for reading in readings]
            before, pieces = row, pieces[count:]
    return list(dict.fromkeys(numbers))


def _plain_sign(sign: str) -> str:
    """An ASCII digit or separator for every other one, and nothing for the invisible signs that address books copy along."""
    if sign.isascii():
        return " " if sign in ODD_SEPARATORS else sign
    if sign.isdecimal():
        return str(int(sign))
    if "！" <= sign <= "～":
        return chr(ord(sign) - FULL_WIDTH)
    if sign.isspace() or sign in ODD_SEPARATORS:
        return " "
    return "" if unicodedata.category(sign) == "Cf" else sign


def _pieces(dividers: re.Pattern[str], text: str) -> list[str]:
    return [piece.strip(" .-") for piece in dividers.split(text) if re.search(r"\d", piece)][:MOST_PIECES]


def _longest_row(pieces: Sequence[str], read: Callable[[str], Sequence[str]]) -> int:
    """How many pieces from the first on are one number; 1 when none is."""
    for count in range(1, len(pieces)):
        if pieces[count].startswith("(") and read(" ".join(pieces[:count])):
            return count
    rows = range(len(pieces), 0, -1)
    return next((count for count in rows if read(" ".join(pieces[:count]))), 1)


def _with_area_of(before: str, piece: str) -> str:
    """`030 7654322` of `7654322` behind `030 7654321`: a second number that lacks the area code alone."""
    groups = re.findall(r"\d+", before)
    if not groups or before.startswith("+") or piece.startswith(("0", "+")):
        return ""
    whole = f"{groups[0]} {piece}"
    return whole if sum(map(str.isdigit, whole)) == sum(map(len, groups)) else ""
