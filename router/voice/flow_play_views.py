"""The page *Play this flow*: the flow of a draft or of a stored scenario, played by the events in the page's own address. Nothing is
stored."""

from datetime import datetime
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from flask import Blueprint, render_template, request

from router.accounts.sessions import require_person
from router.carriers.base import InboundCall
from router.lib.phones import Caller, read_caller
from router.scenarios.fields import Context
from router.scenarios.flow_document import parse_flow
from router.scenarios.holidays import holidays_of
from router.scenarios.wizard.drafts import open_editor
from router.scenarios.wizard.forms import ScenarioForms
from router.scenarios.wizard.views import examples
from router.server import current_server
from router.voice.call_so_far import CallSoFar, Surroundings, Visit
from router.voice.flow_play import Known, play_flow
from router.voice.following import routing_of
from router.voice.interpreter import prepare
from router.voice.routing import read_days
from router.web.access import Audience, guard
from router.web.forms import Form, TextField

play_pages = guard(Blueprint("flow_play", __name__, url_prefix="/scenarios"), Audience.PEOPLE, require_person)

SID = "CA" + 32 * "0"
MOMENT = "%Y-%m-%dT%H:%M"
WITHHELD = "withheld"
NOBODYS_NUMBER = "+15005550006"


class PlayForm(Form):
    """Who calls, and when."""

    caller = TextField()
    at = TextField()
    source = TextField()
    medium = TextField()
    campaign = TextField()
    called = TextField()

    def moment(self, zone: ZoneInfo, now: datetime) -> datetime:
        """When the call begins; now, when nobody can read it."""
        try:
            return datetime.strptime(self.at.data, MOMENT).replace(tzinfo=zone)
        except ValueError:
            if self.at.data:
                self.at.errors = ["Write it like 2026-11-30T14:30."]
            return now

    def from_whom(self, country: str) -> Caller:
        """Left empty, a number that nobody has."""
        text = self.caller.data.strip()
        if text.casefold() == WITHHELD:
            return read_caller("anonymous")
        caller = read_caller(text or NOBODYS_NUMBER, country)
        if caller.e164 is None:
            self.caller.errors = [f"This is no phone number. Write one, or {WITHHELD}."]
        return caller


@play_pages.get("/new/<int:draft_id>/play", endpoint="draft")
@play_pages.get("/<int:scenario_id>/play", endpoint="change")
def play(draft_id: int | None = None, scenario_id: int = 0) -> str:
    server = current_server()
    with server.database.reading() as session:
        editor = open_editor(session, draft_id=draft_id, scenario_id=scenario_id)
        holidays = read_days(holiday.day for holiday in holidays_of(session, editor.project.id))
    project = editor.project
    zone = ZoneInfo(project.timezone)
    now = server.now()
    begins = {"caller": "", "at": f"{now.astimezone(zone):{MOMENT}}", "called": "first"}
    form = PlayForm(request.args, data=begins) if "at" in request.args else PlayForm(data=begins)
    at = form.moment(zone, now)
    context = Context(
        project.country,
        knows_regions=False,
        countries=server.settings.destination_countries,
        may_record_silently=server.settings.record_silently,
    )
    document = ScenarioForms(editor.values).steps["forwarding"].document()["flow"]
    flow, problems = parse_flow(document or {}, context)
    number = examples(editor)[0][0]
    events = request.args.getlist("then")
    scene = None
    if flow is not None:
        caller = form.from_whom(project.country)
        call = InboundCall(SID, "", caller, number, number)
        around = Surroundings(
            server.settings.base_url,
            zone,
            holidays,
            own_lines=routing_of(server).pool,
            countries=server.settings.destination_countries,
        )
        source = [form[name].data for name in ("source", "medium", "campaign")]
        visit = Visit.of(10001, source[0], source[1], source[2]) if source[0] else Visit()
        known = Known(visit, "repeat" if form.called.data == "repeat" else "first")
        scene = play_flow(prepare(flow), around, CallSoFar(call, number, at, None), known, events)
    address = editor.play_address()
    kept = [(name, value) for name, value in request.args.items() if name != "then"]
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
        back=f"{address}?{urlencode([*kept, *(('then', then) for then in events[:-1])])}",
    )
