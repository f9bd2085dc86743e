"""What the columns of a call log are: by their heads, in the words of services and telephone systems, and by what stands in them; and the
names of months and weekdays in the languages of call logs (after the CLDR's `dates/calendars/gregorian`)."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

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


ROLES = {
    "number": "tracking number",
    "caller": "caller",
    "started_at": "day and time",
    "time": "time of day",
    "zone": "time zone",
    "source": "source",
    "medium": "medium",
    "campaign": "campaign",
    "direction": "incoming or outgoing",
    "kind": "call or message",
}
"""What the import reads, each as people say it."""

NEEDED = ("number", "caller", "started_at")

_HEADS = {
    "number": """
        number; tracking number; tracking phone number; tracking phone; tracking num; trackingnum; tracking;
        formatted tracking phone number; call tracking number; google forwarding number;
        number dialed; number dialled; number called; dialed number; dialled number; dialed; dialled; called
        number; called phone number; called party; called party number; called; callee; callee number;
        to; to number; to phone number; to phone; to tel no; inbound number; inbound phone number; inbound
        pstn; did; did number; ddi; dnis; dst; destinationnum; virtual number; virtual phone number;
        line; line number; phone line; own number; our number; target; target number; destination number;
        destination;
        trackingnummer; tracking nummer; trackingrufnummer; tracking rufnummer; trackingtelefonnummer;
        angerufene nummer; angerufene rufnummer; angerufen; angerufener; gewählte nummer; gewählte
        rufnummer;
        eigene rufnummer; eigene nummer; b nummer; b rufnummer; kampagnennummer; werberufnummer;
        servicenummer; zielnummer; zielrufnummer; ziel; an; an nummer;
        виртуальный номер; подменный номер; номер подмены; номер коллтрекинга; номер колл трекинга;
        коллтрекинговый номер; номер отслеживания; отслеживаемый номер; рекламный номер; набранный номер;
        вызываемый номер; вызванный номер; номер назначения; куда звонили; куда позвонили; куда; кому
        звонили; кому; на номер; на какой номер; номер б; номер b; номер ватс; внешний номер; внешняя линия;
        линия; номер линии; номер компании; наш номер; віртуальний номер; набраний номер; куди дзвонили;
        número de seguimiento; número rastreado; número marcado; número llamado; número virtual; número de
        destino; destino; para;
        numéro de suivi; numéro tracké; numéro de tracking; numéro appelé; numéro composé; numéro virtuel;
        appelé; vers; destinataire; numéro destinataire;
        numero di tracciamento; numero tracciato; numero chiamato; numero composto; chiamato; número de
        rastreamento; número discado; número chamado;
        gebeld nummer; gebelde nummer; naar; numer śledzący; wybrany numer; numer wybrany; numer docelowy;
        na numer; dokąd
    """,
    "caller": """
        caller; caller number; caller no; caller id; callerid; caller id number; caller phone; caller phone
        number; callernum; caller num; callers number; callers phone number; phone number of caller;
        calling number; calling party; calling party number; calling phone number; calling; from; from
        number; from phone number; from phone; from tel no; cli; ani; src;
        customer phone number; customer number; customer phone; formatted customer phone number; customer;
        contact number; contact phone; contact phone number; client number; client phone;
        visitor number; visitor phone; lead phone; lead phone number; lead number; prospect number;
        originating number; origin number; originator; remote number; external number; source number;
        anrufer; anrufernummer; anrufer nummer; anrufer rufnummer; rufnummer des anrufers; nummer des
        anrufers; telefonnummer des anrufers; anrufende nummer; anrufende rufnummer; rufnummer anrufer;
        anrufender;
        a nummer; a rufnummer; kundenrufnummer; kundentelefonnummer; telefon kunde; quellrufnummer;
        absender; absendernummer; von; von nummer;
        абонент; номер абонента; телефон абонента; номер клиента; телефон клиента; клиент; звонящий; номер
        звонящего; телефон звонящего; звонивший; номер звонившего; кто звонил; кто; от кого; откуда;
        вызывающий; вызывающий номер; номер вызывающего; номер а; номер a; номер посетителя; контактный
        номер; аон; исходный номер; с номера; хто дзвонив; номер клієнта;
        número del llamante; número llamante; llamante; número de origen; número que llama; número del
        cliente; teléfono del cliente; cliente; número entrante;
        appelant; numéro de l'appelant; numéro de l appelant; numéro appelant; numéro d'appelant; numéro du
        client; téléphone du client; numéro source;
        chiamante; numero chiamante; numero del chiamante; chamador; número chamador; número de quem ligou;
        telefone do cliente; beller; nummer beller; nummer van beller; dzwoniący; numer dzwoniącego; z
        numeru;
        de; da; van; od; skąd; source; origin; origen
    """,
    "either": """
        phone number; phonenumber; formatted phone number; phone; phone no; telephone; telephone number;
        mobile; mobile number; msisdn; number;
        rufnummer; telefonnummer; nummer; telefon; telefonnr; tel; tel number; nr; номер телефона; телефон;
        номер; número de teléfono; teléfono; número; numéro de téléphone; téléphone; numéro;
        numero di telefono; telefono; numero; número de telefone; telefone; telefoonnummer; numer telefonu;
        numer
    """,
    "started_at": """
        started at; start time; start date time; start datetime; start timestamp; call start; call start
        time; call started at; call started; call start date time; call start date; time of call;
        call date time; call datetime; call date and time; call timestamp; calldate; date time; datetime;
        date and time; timestamp; unix time; unix timestamp; called at; received at; received; date
        received;
        call date; call time; date of call; date created; created at; created; start; started; time started;
        begin; begin time; start date; begin date; datestamp; date; time; when; day;
        datum uhrzeit; datum und uhrzeit; datum zeit; datum und zeit; anrufbeginn; gesprächsbeginn;
        startzeitpunkt; startzeit; beginn; anrufzeit; anrufzeitpunkt; zeitpunkt; zeitstempel; anruf am;
        anrufdatum; startdatum; datum;
        дата и время звонка; дата и время начала; дата и время; дата время; начало звонка; время начала
        звонка; время начала; начало; дата начала; дата звонка; время звонка; дата вызова; время вызова;
        дата и час; дата та час; дата; время;
        fecha y hora; fecha hora; hora de inicio; inicio; fecha de inicio; fecha de la llamada; fecha de
        llamada; fecha; hora;
        date et heure; date heure; horodatage; heure de début; début; date de l'appel; date de l appel; date
        d'appel; date d appel; heure d'appel; date de début; heure;
        data e ora; data ora; ora inizio; ora di inizio; inizio; data chiamata; data e hora; data hora; data
        da chamada; data da ligação; início; data; ora;
        datum en tijd; datum tijd; starttijd; tijd; data i godzina; data godzina; data i czas; data
        połączenia; początek; czas; godzina; uhrzeit; zeit
    """,
    "time": """
        time; time of day; call time; start time; begin time; hour; uhrzeit; zeit; startzeit; anrufzeit;
        время; время звонка; время начала; час; hora; hora de inicio; heure; heure d'appel; heure de début;
        ora; ora inizio;
        tijd; starttijd; godzina; czas
    """,
    "zone": """
        time zone; timezone; tz; utc offset; gmt offset; company time zone; account time zone;
        zeitzone; часовой пояс; таймзона; часовая зона; zona horaria; huso horario; fuseau horaire; fuseau;
        fuso orario; fuso horário; tijdzone; strefa czasowa
    """,
    "source": """
        source; utm source; traffic source; marketing source; lead source; tracking source; source name;
        source type; ad source; advertising source; call source;
        quelle; herkunft; trafficquelle; traffic quelle; werbequelle; источник; источник трафика; источник
        звонка; источник перехода; рекламный источник; источник рекламы; джерело;
        fuente; fuente de tráfico; origen del tráfico; source du trafic; fonte; fonte di traffico; origem do
        tráfego; bron; verkeersbron; źródło
    """,
    "medium": """
        medium; utm medium; traffic medium; traffic channel; channel; marketing channel; kanal; канал;
        рекламный канал; тип трафика; medio; canal; mezzo; meio; kanaal; kanał
    """,
    "campaign": """
        campaign; utm campaign; campaign name; ad campaign; advertising campaign; kampagne; werbekampagne;
        kampagnenname; рекламная кампания; кампания; название кампании; кампанія;
        campaña; nombre de la campaña; campagne; nom de la campagne; campagna; campanha; kampania
    """,
    "direction": """
        direction; call direction; call type; type; typ; io; in out; richtung; anrufrichtung; anruftyp; art;
        направление; направление звонка; тип; тип звонка; тип вызова; напрямок;
        dirección; sentido; tipo; tipo de llamada; sens; type d'appel; direzione; direção; richting;
        kierunek
    """,
    "kind": """
        lead type; interaction type; activity type; contact type; conversion type; тип обращения; вид
        обращения; тип лида
    """,
}  # fmt: skip
_OUTGOING = """
    outbound; outgoing; outbound dial; outbound api; outgoing dial; outgoing api; trunking originating; out; o;
    outgoing call; outbound call; ausgehend; ausgehender anruf; ausgang; abgehend; исходящий; исходящие;
    исходящий звонок; исходящий вызов; вихідний; вихідний дзвінок; saliente; llamada saliente; sortant; appel sortant;
    uscente; in uscita; chiamata in uscita; realizada; efetuada; uitgaand; wychodzące; wychodzący
"""
_NO_CALLS = """
    web form; form; form submission; webform; chat; live chat; text; text message; sms; msg inbound; msg outbound;
    message; mms; email; e mail; event; transaction; appointment; fax; formular; kontaktformular; nachricht; заявка;
    сообщение; чат; форма; formulario; mensaje; formulaire
"""
_TOTALS = """
    total; totals; subtotal; sub; grand; sum; summary; summe; gesamt; gesamtsumme; insgesamt; итого; итог; всего; сумма;
    разом; всього; totaux; totale; totaal; razem; suma
"""


_NEED_PHONES = "source; origin; origen; de; da; van; od; customer; cliente; клиент; caller; абонент; anrufer"
OUTGOING, NO_CALLS, TOTALS, NEED_PHONES = (
    frozenset(folded(word) for word in words.split(";")) for words in (_OUTGOING, _NO_CALLS, _TOTALS, _NEED_PHONES)
)
"""What a column of directions says of an outgoing call, a column of kinds of what is no call; first words of totals; and heads that
stand for the caller where phone numbers stand below them, and for a name or an advertisement where not."""


def plain_head(head: str) -> str:
    """A head in the form in which it is known, without what stands in brackets: `Tracking #` is `tracking number`, `startTime` and
    `start_time` are `start time`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", head)
    words = folded(re.sub(r"[(\[].*?[)\]]", " ", spaced)).replace("#", " number ").replace("№", " номер ")
    return " ".join(re.sub(r"[^\w']+|_", " ", words).split()).strip("' ")


HEADS = {
    role: {head: place for place, head in enumerate(dict.fromkeys(map(plain_head, heads.split(";"))))}
    for role, heads in _HEADS.items()
}
"""For each role its heads, folded, with their rank: what stands first is the surest."""


def rank(role: str, head: str) -> int | None:
    """How sure a head stands for a role, 0 being the surest; None: it does not."""
    known, plain = HEADS[role], plain_head(head)
    return known.get(plain, known.get(re.sub(" (utc|gmt|local)$", "", plain)))


def head_score(cells: Sequence[str]) -> int:
    """How many of the columns that a call log needs this line may name: 0 when it is no head of a call log."""
    phones = sum(any(rank(role, cell) is not None for role in ("number", "caller", "either")) for cell in cells)
    times = sum(rank("started_at", cell) is not None for cell in cells)
    return min(phones, 2) + min(times, 1) if phones and times else 0


@dataclass(frozen=True, slots=True)
class Content:
    """What the first lines of a file hold in a column: of how many cells that are not empty, how many are what."""

    filled: int = 0
    own: int = 0
    """Numbers of the project."""
    phones: int = 0
    """Phone numbers, and words for withheld numbers."""
    days: int = 0
    clocked_days: int = 0
    clocks: int = 0
    """Times of day without a day."""


class UnknownColumn(ValueError):
    """A column that the file does not have, or an unknown role; the message is for the person who named it."""


def position_of(name: str, heads: Sequence[str]) -> int:
    """A column by its head, or by its position from 1.

    Raises:
        UnknownColumn
    """
    same = [index for index, head in enumerate(heads) if folded(head) == folded(name)]
    if not same:
        same = [index for index, head in enumerate(heads) if plain_head(head) == plain_head(name)]
    if not same and name.strip().isdecimal() and 1 <= int(name) <= len(heads):
        same = [int(name) - 1]
    if not same:
        raise UnknownColumn(
            f"There is no column “{name}”. The file has {', '.join(f'“{head}”' for head in heads if head)}."
        )
    if len(same) > 1:
        raise UnknownColumn(
            f"There are several columns “{name}”. Give its position: {', '.join(str(index + 1) for index in same)}."
        )
    return same[0]


@dataclass
class Columns:
    """Which column is what, by position; for a needed role that nobody can tell, the columns among which somebody has to choose."""

    heads: Sequence[str]
    contents: Sequence[Content]
    taken: dict[str, int] = field(default_factory=dict)
    open: dict[str, list[int]] = field(default_factory=dict)

    def find(self, chosen: Mapping[str, str]) -> None:
        """
        Args:
            chosen: columns that a person named, by role; an empty name stands for none.

        Raises:
            UnknownColumn
        """
        for role, name in chosen.items():
            if role not in ROLES:
                raise UnknownColumn(f"“{role}” is none of the columns that are read: {', '.join(ROLES)}.")
            if name:
                self.taken[role] = position_of(name, self.heads)
        if len(set(self.taken.values())) < len(self.taken):
            raise UnknownColumn("One column cannot be two things.")
        for role, candidates in (("number", self.numbers), ("caller", self.callers), ("started_at", self.times)):
            if role not in self.taken:
                self.settle(role, candidates())
        self.take_optional(set(chosen))
        free = self.free()
        self.open = {role: [index for index in among if index in free] for role, among in self.open.items()}

    def head_of(self, role: str) -> str:
        return self.heads[self.taken[role]] if role in self.taken else ""

    def free(self) -> list[int]:
        taken = set(self.taken.values())
        return [index for index in range(len(self.heads)) if index not in taken]

    def named(self, *roles: str) -> list[int]:
        """Columns whose heads stand for one of the roles, the surest first."""
        ranked = [
            (order, position, index)
            for order, role in enumerate(roles)
            for index in self.free()
            if (position := rank(role, self.heads[index])) is not None
        ]
        return list(dict.fromkeys(index for _, _, index in sorted(ranked)))

    def mostly(self, what: str, columns: list[int]) -> list[int]:
        """Those of these columns in which more than half of the cells are that."""
        return [index for index in columns if getattr(self.contents[index], what) * 2 > self.contents[index].filled]

    def settle(self, role: str, candidates: list[int]) -> None:
        """Takes the only candidate; among several, or none, somebody has to choose."""
        if len(candidates) == 1:
            self.taken[role] = candidates[0]
            return
        possible = "days" if role == "started_at" else "phones"
        others = [index for index in self.free() if getattr(self.contents[index], possible)]
        self.open[role] = candidates or others

    def numbers(self) -> list[int]:
        """The column that holds numbers of the project, whatever its head; without such a column the head has to be sure."""
        named, callers = self.named("number", "either"), self.named("caller")
        others = [index for index in self.free() if index not in callers]
        if own := self.mostly("own", named) or self.mostly("own", others):
            return own[:1]
        if some := [index for index in named if self.contents[index].own]:  # others may have been given up since
            return [max(some, key=lambda index: self.contents[index].own)]
        if sure := [index for index in self.named("number") if rank("either", self.heads[index]) is None]:
            return sure[:1]
        either = self.named("either")
        return either[:1] if len(either) == 1 and callers else either

    def callers(self) -> list[int]:
        named, either = self.named("caller"), self.named("either")
        if phones := self.mostly("phones", named):
            return phones[:1]
        sure = [index for index in named if plain_head(self.heads[index]) not in NEED_PHONES]
        return self.mostly("phones", either) or sure[:1] or either or named[:1]

    def times(self) -> list[int]:
        named = self.named("started_at")
        days = self.mostly("days", named)
        clocked = [index for index in days if self.contents[index].clocked_days]
        return (clocked or days or named)[:1] or self.mostly("clocked_days", self.free())

    def take_optional(self, chosen: set[str]) -> None:
        """The columns that a log may have; of two columns with the same meaning the fuller."""
        contents, taken = self.contents, self.taken
        day = contents[taken["started_at"]] if "started_at" in taken else Content()
        if "time" not in chosen and day.filled and not day.clocked_days:
            clocks = self.mostly("clocks", self.named("time"))
            taken |= {"time": clocks[0]} if clocks else {}
        for role in ("zone", "source", "medium", "campaign", "direction", "kind"):
            named = self.named(role)
            if role == "source":
                named = [index for index in named if index not in self.mostly("phones", named)]
            if role not in chosen and named:
                taken[role] = max(named, key=lambda index: contents[index].filled)
        if "source" not in taken:  # a medium or a campaign alone says nothing of where a caller came from
            for role in {"medium", "campaign"} - chosen:
                taken.pop(role, None)
