"""Folding of words, and the names of months and weekdays in the languages of call logs (after the CLDR's `dates/calendars/gregorian`)."""

import unicodedata

_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))


def folded(text: str) -> str:
    """Lower case without accents, format characters and wide blanks: browsers write a narrow no-break space before `PM`."""
    if text.isascii():
        return " ".join(text.casefold().split())
    decomposed = unicodedata.normalize("NFKD", text.translate(_DASHES)).casefold()
    kept = (sign for sign in decomposed if unicodedata.category(sign) not in ("Mn", "Cf"))
    return " ".join("".join(kept).split())


_MONTHS = """
january jan januar jaenner janner janvier janv januari enero ene gennaio gen janeiro styczen stycznia sty январь января янв січень січня січ
february feb februar feber fevrier fevr fev februari febrero febbraio fevereiro luty lutego lut февраль февраля фев февр лютий лютого лют
march mar marz maerz mrz maart mrt mars marzo marco marzec marca март марта мар березень березня бер
april apr avril avr abril abr aprile kwiecien kwietnia kwi апрель апреля апр квітень квітня квіт кві
may mai mei mayo maggio mag maio maj maja май мая травень травня трав тра
june jun juni juin junio giugno giu junho czerwiec czerwca cze июнь июня июн червень червня черв чер
july jul juli juillet juil julio luglio lug julho lipiec lipca lip июль июля июл липень липня лип
august aug aout agosto ago augustus augusti sierpien sierpnia sie август августа авг серпень серпня серп сер
september sep sept septembre septiembre settembre set setembro wrzesien wrzesnia wrz сентябрь сентября сен сент вересень вересня вер
october oct oktober okt octobre octubre ottobre ott outubro out pazdziernik pazdziernika paz октябрь октября окт жовтень жовтня жовт жов
november nov novembre noviembre novembro listopad listopada lis ноябрь ноября ноя нояб листопад листопада лист
december dec dezember dez decembre diciembre dic dicembre dezembro grudzien grudnia gru декабрь декабря дек грудень грудня груд гру
"""
MONTHS = {
    folded(name): month for month, names in enumerate(_MONTHS.strip().splitlines(), start=1) for name in names.split()
}
"""Full names, the forms inside a date, and abbreviations: English, German, French, Spanish, Italian, Portuguese, Dutch, Polish, Swedish,
Russian and Ukrainian. No name stands for two months."""

_WEEKDAYS = """
monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun
montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag mo di mi do fr sa so
lundi mardi mercredi jeudi vendredi samedi dimanche lun mar mer jeu ven sam dim
lunes martes miércoles jueves viernes sábado domingo mié jue vie sáb dom
lunedì martedì mercoledì giovedì venerdì sabato domenica gio sab
segunda-feira terça-feira quarta-feira quinta-feira sexta-feira segunda terça quarta quinta sexta seg ter qua qui sex
maandag dinsdag woensdag donderdag vrijdag zaterdag zondag ma wo vr za zo
poniedziałek wtorek środa czwartek piątek sobota niedziela pon wt śr czw pt sob niedz
понедельник вторник среда четверг пятница суббота воскресенье пн вт ср чт пт сб вс
понеділок середа четвер п'ятниця субота неділя нд
"""
_FILLERS = """
at on um am uhr le à de del a las la alle ore kl o os om van в у г г. год года року р the t h hrs hours ч
"""
WEEKDAYS = frozenset(map(folded, _WEEKDAYS.split()))
FILLERS = frozenset(map(folded, _FILLERS.split()))
"""Words between a day and its time: `November 3, 2026 at 2:05 PM`, `3. November 2026 um 14:05 Uhr`, `3 ноября 2026 г. в 14:05`."""
