"""The page *Play this flow*: the flow of a draft or of a stored scenario, played by the events in the page's own address. Nothing is
stored."""

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, render_template, request

from router.accounts.sessions import require_person
from router.carriers.base import InboundCall
from router.lib.formats import format_count
from router.lib.phones import Caller, read_caller
from router.scenarios.fields import Context
from router.scenarios.flow_document import parse_flow
from router.scenarios.flows import lines_in
from router.scenarios.holidays import holidays_of
from router.scenarios.sounds import sounds_of
from router.scenarios.wizard.drafts import open_editor
from router.scenarios.wizard.forms import ScenarioForms
from router.scenarios.wizard.views import examples
from router.server import current_server
from router.voice.asking import try_address
from router.voice.blocking.rules import (
    CALLER_LIMIT,
    FAILED_VERIFICATION,
    NUMBER_LIMIT,
    Blocked,
    CallGuard,
    guard_of,
)
from router.voice.blocking.service import entries_of
from router.voice.call_so_far import CallSoFar, Surroundings, Visit
from router.voice.flow_play import Choice, Known, goes_by, play_blocked, play_flow
from router.voice.following import routing_of
from router.voice.interpreter import prepare
from router.voice.models import INTERNAL
from router.voice.routing import kind_of, own_lines, read_days
from router.voice.sounds import SoundAddresses
from router.web.access import Audience, guard
from router.web.forms import Form, TextField

play_pages = guard(Blueprint("flow_play", __name__, url_prefix="/scenarios"), Audience.PEOPLE, require_person)

SID = "CA" + 32 * "0"
MOMENT = "%Y-%m-%dT%H:%M"
WITHHELD = "withheld"
NOBODYS_NUMBER = "+15005550006"
OWN_TELEPHONE = "This is a test call from one of your own telephones …"
"""The beginning of what the caller of an internal call hears; what it goes on with is looked up while he calls."""


class PlayForm(Form):
    """Who calls, and when."""

    caller = TextField()
    at = TextField()
    source = TextField()
    medium = TextField()
    campaign = TextField()
    called = TextField()
    special = TextField()
    """Why this call may be blocked that is not said by its caller's number: forged, or one too many."""

    def moment(self, zone: ZoneInfo, now: datetime) -> datetime:
        """When the call begins; now, when nobody can read it."""
        try:
            return datetime.strptime(self.at.data, MOMENT).replace(tzinfo=zone)
        except ValueError:
            if self.at.data:
                self.at.errors = ["Write it like 2026-11-30T14:30."]
            return now

    def from_whom(self, country: str) -> Caller:
        """Left empty, a number that nobody has. SIP addresses call too."""
        text = self.caller.data.strip()
        if text.casefold() == WITHHELD:
            return read_caller("anonymous")
        caller = read_caller(text or NOBODYS_NUMBER, country)
        if caller.e164 is None and not text.casefold().startswith(("sip:", "sips:")):
            self.caller.errors = [f"This is no phone number. Write one, or {WITHHELD}."]
        return caller


def specials(guard: CallGuard) -> list[tuple[str, str]]:
    """What a call may be beside its caller, as choices: as far as the project blocks such calls."""
    offered = {
        FAILED_VERIFICATION: ("shows a forged number", guard.values["failed_verification"]),
        CALLER_LIMIT: (f"comes while the caller holds {format_count(guard.per_caller, 'other')}", guard.per_caller),
        NUMBER_LIMIT: (f"comes while the number has {format_count(guard.per_number, 'other')}", guard.per_number),
    }
    return [("", "is like any other"), *((value, label) for value, (label, is_on) in offered.items() if is_on)]


def blocked_as(guard: CallGuard, call: InboundCall, special: str) -> Blocked | None:
    """Why a call from outside is not put through; None: it is."""
    if blocked := guard.why_blocked(call):
        return blocked
    is_held = special == CALLER_LIMIT and guard.per_caller and call.caller.e164
    return Blocked(special) if is_held or (special == NUMBER_LIMIT and guard.per_number) else None


@play_pages.get("/new/<int:draft_id>/play", endpoint="draft")
@play_pages.get("/<int:scenario_id>/play", endpoint="change")
def play(**which: int) -> str:
    return _page(which)


@play_pages.post("/new/<int:draft_id>/play", endpoint="ask_of_draft")
@play_pages.post("/<int:scenario_id>/play", endpoint="ask")
def ask(**which: int) -> str:
    """Asks the address that the call waits for now, and shows what it answers."""
    return _page(which, asks=True)


def _page(which: Mapping[str, int], *, asks: bool = False) -> str:
    server = current_server()
    with server.database.reading() as session:
        editor = open_editor(session, **which, undrafted=False)
        project = editor.project
        holidays = read_days(holiday.day for holiday in holidays_of(session, project.id))
        sounds = {sound.name: f"{sound.file}.{sound.kind}" for sound in sounds_of(session, project.id)}
        entries = [entry.pattern for entry in entries_of(session, project.id) if entry.taken_back_at is None]
    whom, zone, now = guard_of(project, entries), ZoneInfo(project.timezone), server.now()
    begins = {"caller": "", "at": f"{now.astimezone(zone):{MOMENT}}", "called": "first"}
    form = PlayForm(request.args, data=begins) if "at" in request.args else PlayForm(data=begins)
    at = form.moment(zone, now)
    context = Context(
        project.country,
        knows_regions=False,
        sounds=sounds,
        countries=server.settings.destination_countries,
        may_record_silently=server.settings.record_silently,
    )
    document = ScenarioForms(editor.values).steps["forwarding"].document()["flow"]
    flow, problems = parse_flow(document or {}, context)
    number = examples(editor)[0][0]
    events = request.args.getlist("then")
    scene, reply, is_internal, is_known = None, None, False, True
    if flow is not None:
        special = str(form.special.data)
        caller = form.from_whom(project.country)
        call = InboundCall(SID, "", caller, number, number, failed_verification=special == FAILED_VERIFICATION)
        lines = [*project.destination_numbers, *(line["to"] for _, line, _ in lines_in(flow.document()))]
        is_internal = kind_of(caller, own_lines(project.fallback_destination, project.own_numbers, lines)) == INTERNAL
        around = Surroundings(
            server.settings.base_url,
            zone,
            holidays,
            own_lines=routing_of(server).pool,
            sounds=SoundAddresses(server.settings.base_url, server.keys, sounds),
            countries=server.settings.destination_countries,
        )
        source = [form[name].data for name in ("source", "medium", "campaign")]
        visit = Visit.of(10001, source[0], source[1], source[2]) if source[0] else Visit()
        known = Known(visit, "repeat" if form.called.data == "repeat" else "first")
        program, announcement = prepare(flow), OWN_TELEPHONE if is_internal else ""
        so_far = CallSoFar(call, number, at, None, announcement=announcement)
        if not is_internal and (blocked := blocked_as(whom, call, special)):
            scene = play_blocked(whom, blocked)
        else:
            scene = play_flow(program, around, so_far, known, events)
        if asks and scene.asking is not None:
            reply = try_address(server, project.id, *scene.asking)
            is_known = not reply.answer or goes_by(program, around, *scene.asking, reply.answer)
            if not any(choice.value == f"answer.{reply.answer or ''}" for choice in scene.choices):
                scene.choices.insert(
                    0, Choice(f"answer.{reply.answer}", f"It answers “{reply.answer}”, as it just did")
                )
    address = editor.play_address()
    kept = [(name, value) for name, value in request.args.items() if name != "then"]
    here = [*kept, *(("then", then) for then in events)]
    return render_template(
        "voice/play_flow.html",
        editor=editor,
        title=editor.scenario.title if editor.scenario else editor.values.get("title") or "New scenario",
        form=form,
        scene=scene,
        problems=problems,
        is_empty=document is None,
        number=number,
        address=address,
        events=events,
        again=f"{address}?{urlencode(kept)}",
        back=f"{address}?{urlencode(here[:-1])}",
        here=f"{address}?{urlencode(here)}",
        is_internal=is_internal,
        reply=reply,
        is_known=is_known,
        specials=specials(whom),
    )
