"""How carriers and call logs say that a caller hides his number."""

import re

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
