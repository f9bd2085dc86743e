"""Pages of the wizard (R2): six steps on a draft or on a stored scenario, and the review before one is enabled, where *Connect* buys (R4).

Whatever button is pressed, what was typed is kept first. Below: what the steps show beside their forms."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import phonenumbers
from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from router.accounts.audit import changing
from router.accounts.ledger import price_of
from router.accounts.sessions import require_person
from router.carriers.base import NumberKind
from router.lib.formats import format_count, format_duration, parse_int
from router.lib.phones import BadPhone, cost_warning, country_of, display, international, phone_or, read_destination
from router.scenarios.documents import Pressed, asking, numbers_by_scenario, scenario_document
from router.scenarios.enable import buying_of, enabling_of, searching
from router.scenarios.flow_picture import draw
from router.scenarios.flow_words import DAY_NAMES, KINDS, told
from router.scenarios.flows import DEFAULT_RING_SECONDS, LONG_RING_SECONDS, steps_in, tracking_among
from router.scenarios.lint import Finding, lint
from router.scenarios.matching import format_error
from router.scenarios.models import Scenario, ScenarioDraft, TrackingNumber
from router.scenarios.numbers.compliance import kinds_of
from router.scenarios.numbers.inventory import free_numbers, taken_numbers
from router.scenarios.numbers.search import Lack, Market, bundles_lacking, look_around
from router.scenarios.schema import BuyingDocument
from router.scenarios.service import Secrets, connect_scenario, find_scenario
from router.scenarios.sounds import sounds_of
from router.scenarios.wizard.drafts import (
    Editor,
    find_draft,
    forget_draft,
    keep,
    keep_step,
    open_editor,
    save,
    try_out,
)
from router.scenarios.wizard.flow_forms import DEEPEST_NAME
from router.scenarios.wizard.forms import (
    ANY,
    BY_NAME,
    STEPS,
    TERMS,
    ScenarioForms,
    Step,
    Values,
    clean_form,
    field_after,
    rows_in_use,
    step_of,
    values_of_document,
)
from router.server import current_server
from router.web.access import Audience, current_actor, current_project, guard
from router.web.errors import Problem, Refused
from router.web.forms import FieldErrors, lines_of

wizard_pages = guard(Blueprint("wizard", __name__, url_prefix="/scenarios"), Audience.PEOPLE, require_person)

LARGEST_FORM = 1024 * 1024
"""Bytes: a flow of 64 kB with the names of its fields."""


@wizard_pages.url_value_preprocessor
def allow_whole_flows(*_: Any) -> None:
    """Before anybody reads the form."""
    request.max_content_length = request.max_form_memory_size = LARGEST_FORM
    request.max_form_parts = 20_000


Page = str | tuple[str, int] | Response


@wizard_pages.route(f"/new/<int:draft_id>/<{ANY}:step>", endpoint="draft", methods=["GET", "POST"])
@wizard_pages.route(f"/<int:scenario_id>/<{ANY}:step>", endpoint="change", methods=["GET", "POST"])
def edit(step: str, **which: int) -> Page:
    """A step of a new scenario's draft (`draft_id`) or of a stored scenario (`scenario_id`)."""
    if request.method == "GET":
        with current_server().database.reading() as session:
            editor = open_editor(session, **which, undrafted="stored" in request.args)
        if BY_NAME[step].place > editor.reached:
            return redirect(editor.address(STEPS[editor.reached - 1].name))
        return _page(editor, BY_NAME[step], *(try_out(editor) if "check" in request.args else ()))
    form, typed = clean_form(request.form), BY_NAME[step]
    with changing() as change:
        editor = keep_step(change, typed, form, **which)
    verb, _, argument = form.get("do", "apply" if editor.scenario else "continue").partition(".")
    if verb == "keep":
        return _page(editor, typed)
    if verb == "part":
        return _press(editor, typed, *argument.split(".", 1))
    if verb == "continue":
        found, _ = try_out(editor)
        errors = {field: sentence for field, sentence in found.items() if field == "title" or step_of(field) is typed}
        following = typed.following
        if errors:
            return _page(editor, typed, errors), 422
        if following is None:
            return redirect(editor.address(step, check=1))
        if editor.scenario is None and editor.draft is not None and editor.reached < following.place:
            with current_server().database.writing() as session:
                draft = find_draft(session, editor.draft.id, lock=True)
                draft.reached = max(draft.reached, following.place)
        return redirect(editor.address(following.name))
    if verb in ("save", "apply", "enable", "over"):
        return _save(editor, typed, verb, argument)
    if verb == "go" and argument in BY_NAME:
        return redirect(editor.address(argument))
    if verb == "back":
        return redirect(editor.address(typed.before.name) if typed.before else url_for("scenarios.table"))
    if verb == "play":
        return redirect(editor.play_address())
    if verb == "search":
        return redirect(editor.address(step, search=1, _anchor="offers"))
    if verb == "comply":
        back, country = editor.address(step, search=1, _anchor="offers"), editor.values["numbers"]["to_buy"]["country"]
        return redirect(url_for("compliance.show", country=country, kind=argument, back=back))
    anchor = field_after(ScenarioForms(editor.values).steps[step], verb, argument) if argument else None
    return redirect(editor.address(step, _anchor=anchor))


@wizard_pages.post("/new/<int:draft_id>/discard", endpoint="discard")
@wizard_pages.post("/<int:scenario_id>/discard", endpoint="discard_changes")
def discard(**which: int) -> Response:
    with changing() as change:
        editor = open_editor(change.session, **which, undrafted=False)
        forget_draft(change.session, editor)
    if editor.scenario is None:
        title = (editor.draft and editor.draft.title) or "without a name"
        flash(f"The draft {title} is discarded.")
        return redirect(url_for("scenarios.table"))
    flash("Your changes are discarded. This is what is stored.")
    return redirect(editor.address(STEPS[0].name))


def _press(editor: Editor, step: Step, name: str, action: str = "") -> Page:
    """A button of a part's form: what was typed is kept already, and what the button makes of it as well."""
    parts = [part for part in current_server().scenario_parts if part.name == name]
    if not parts or editor.draft is None:
        raise Problem(404, "There is no such button.")
    typed = editor.values["integrations"]
    kept, manager = typed["parts"], str(typed.get("manager") or "")
    scenario_id = editor.scenario.id if editor.scenario else None
    pressed = parts[0].press(editor.project, scenario_id, manager, kept.get(name), action)
    if pressed.typed is not None:
        kept[name] = pressed.typed
        with changing() as change:
            draft = change.session.get_one(ScenarioDraft, editor.draft.id, with_for_update=True)
            keep(change.server.keys, draft, editor.values, step.place, change.now)
    page = _page(editor, step, pressed.errors, pressed=pressed)
    return (page, 422) if pressed.errors else page


def _save(editor: Editor, step: Step, verb: str, argument: str) -> Page:
    """Stores the draft and forgets it; secrets that were made are shown this once, on the page that answers.

    A draft that cannot be used stays, and the first step with an error says so. A draft of an older version stays as well, and both
    versions can be looked at."""
    server, before = current_server(), editor.scenario
    version = editor.version if before else None
    if before is not None and verb == "over" and (over := parse_int(argument)) is not None:
        version = over

    def attempt() -> tuple[Scenario, Secrets]:
        with changing() as change:
            stored = save(change, editor, version)
            forget_draft(change.session, editor)
            return stored

    try:
        scenario, secrets = asking(attempt)
    except Refused as refusal:
        steps = {step_of(field) for field in refusal.errors if field != "title"}
        if step in steps or not steps:
            return _page(editor, step, refusal.errors), 422
        return redirect(editor.address(min(steps, key=STEPS.index).name, check=1))
    except Problem as problem:
        if problem.status != 409:
            raise
        if before is None or problem.field != "version":
            return _page(editor, step, {problem.field or "title": problem.detail}), 409
        with server.database.reading() as session:
            editor = open_editor(session, scenario_id=before.id)
        return _page(editor, step), 409

    following, said = url_for("scenarios.table"), "stored and off: nobody is shown its numbers yet"
    if verb == "enable":
        following, said = url_for("connect.review", scenario_id=scenario.id), "stored"
    elif before is not None:
        following, said = url_for("wizard.change", scenario_id=scenario.id, step=step.name), "stored as you see it"
    said = f"{scenario.title} is {said}."
    if secrets:
        return render_template(
            "scenarios/secrets.html", scenario=scenario, secrets=secrets, said=said, following=following
        )
    flash(said)
    return redirect(following)


def _page(
    editor: Editor,
    step: Step,
    errors: Mapping[str, str] | None = None,
    findings: Sequence[Finding] = (),
    pressed: Pressed | None = None,
) -> str:
    server, scenario, values = current_server(), editor.scenario, editor.values
    forms = ScenarioForms(values)
    summary = forms.place(errors or {})
    to_buy = values["numbers"]["to_buy"]
    market = Market()
    look = "stored" in request.args and request.method == "GET"
    disabled = look or not current_actor().may("admin", editor.project.id)
    if step.name == "numbers" and request.method == "GET":  # while somebody types the carrier is not asked
        market = look_around(
            server,
            editor.project.id,
            to_buy["country"],
            to_buy["area_code"],
            to_buy["contains"],
            "search" in request.args,
        )
    shown: dict[str, Any] = {}
    with server.database.reading() as session:
        if step.name == "numbers":
            numbers = choices(session, editor)
            shown = {"numbers": numbers, "extras": extra_choices(editor, numbers)}
            shown["chosen"], shown["buying"] = wanted_counts(values)
            shown["under_way"] = buying_of(session, scenario) if scenario else None
        elif step.name == "forwarding":
            steps = told(flow_typed(forms).get("steps") or ())
            shown = {"rings": rings(session, editor), "examples": examples(editor), "told": steps, "drawn": draw(steps)}
            shown["removed"] = values["forwarding"].get("removed")
            shown["around"] = around_steps(session, editor, disabled)
        elif step.name == "tagging":
            shown = {"examples": examples(editor)}
        elif step.name == "channels":
            here = {e164: international(e164) for e164 in chosen_numbers(editor)}
            coming = {e164: f"{international(e164)}, to be bought" for e164 in to_buy["numbers"]}
            shown = {"options": here | coming, "used": rows_in_use(values, "channels")}
        elif step.name == "integrations":
            typed = values["integrations"]["parts"]
            sections = [part for part in server.scenario_parts if part.form_template]
            parts = [(part, *part.veiled(typed.get(part.name))) for part in sections]
            shown = {"parts": parts, "pressed": pressed}
            shown["beside"] = {part.name: part.beside(session, editor.project, value) for part, value, _ in parts}
            shown["people"] = [choice for beside in shown["beside"].values() for choice in beside.get("people", ())]
            shown |= {"told": [sentence for part, value, _ in parts for sentence in part.preview(value)]}
        else:
            shown = {"regions": server.settings.geoip is not None}
    return render_template(
        f"scenarios/wizard/{step.name}.html",
        editor=editor,
        values=values,
        step=step,
        steps=STEPS,
        contents=step_contents(editor, forms),
        form=forms.steps[step.name],
        title_field=forms.title["title"],
        errors=FieldErrors((element, sentence) for _, element, sentence in summary),
        summary=summary,
        findings=findings,
        differing=differing(editor) if editor.stale else [],
        look=look,
        scenario=scenario,
        title=scenario.title if scenario else "New scenario",
        disabled=disabled,
        price=price_of(server.settings, editor.project),
        market=market,
        **shown,
    )


connect_pages = guard(Blueprint("connect", __name__, url_prefix="/scenarios"), Audience.PEOPLE, require_person)


@connect_pages.get("/<int:scenario_id>/review")
def review(scenario_id: int) -> str:
    return _review(scenario_id)


@connect_pages.post("/<int:scenario_id>/connect")
def connect(scenario_id: int) -> Page:
    """Orders the numbers, if any are to be bought, and enables the scenario, at once or when they are there."""

    def attempt(found: Sequence[str] | None) -> tuple[Scenario, BuyingDocument | None]:
        with changing() as change:
            return connect_scenario(change, scenario_id, found, request.form.get("version", type=int))

    try:
        scenario, buying = searching(current_server(), attempt)
    except Problem as refusal:
        if refusal.status not in (409, 503):
            raise
        return _review(scenario_id, refusal), refusal.status
    if buying is not None:
        return redirect(url_for("buying.progress", batch_id=buying.batch))
    flash(f"{scenario.title} is on: visitors are shown its numbers.")
    return redirect(url_for("connect.review", scenario_id=scenario_id))


def _review(scenario_id: int, refusal: Problem | None = None) -> str:
    server, project = current_server(), current_project()
    with server.database.reading() as session:
        scenario = find_scenario(session, project, scenario_id)
        enabling = enabling_of(session, server, project, scenario, server.now())
        numbers = numbers_by_scenario(session, [scenario.id])[scenario.id]
        document = scenario_document(session, server, scenario)
        findings = lint(session, server, project, scenario.id, document)
        under_way = buying_of(session, scenario)
        gone = taken_numbers(session, enabling.to_buy)
    forms = ScenarioForms(values_of_document(document, server.scenario_parts, project.currency))
    country = str(scenario.to_buy.get("country") or project.country)
    market = look_around(server, project.id, country) if enabling.total else None
    to_buy: list[tuple[str, NumberKind]] = [(country_of(e164) or "", kinds_of(e164)[0]) for e164 in enabling.to_buy]
    if enabling.count:
        to_buy.append((country, "local"))
    lacks, said = bundles_lacking(server, project.id, to_buy), refusal.detail if refusal is not None else ""
    if refusal is not None and "kind" in refusal.more:
        lacks = [Lack(refusal.detail, refusal.more["country"], refusal.more["kind"])]
        said = "Something has to be chosen first."
    return render_template(
        "scenarios/review.html",
        scenario=scenario,
        enabling=enabling,
        numbers=numbers,
        findings=[(finding, BY_NAME[finding.step], forms.element_of(finding.field)) for finding in findings],
        blocked=any(finding.blocks for finding in findings),
        under_way=under_way,
        gone=gone,
        done=scenario.enabled and not enabling.total,
        market=market,
        lacks=lacks,
        refusal=said,
    )


EXAMPLE = "+14155552671"
MOST_FREE = 500


def flow_typed(forms: ScenarioForms) -> dict[str, Any]:
    """The flow's document as it is typed, which nobody has checked; `{}` when there is none."""
    return forms.steps["forwarding"].document()["flow"] or {}


def around_steps(session: Session, editor: Editor, disabled: bool) -> dict[str, Any]:
    """What the fields of steps are shown with."""

    def is_late(seconds: str) -> bool:
        return (parse_int(seconds) or 0) > LONG_RING_SECONDS

    return {
        "disabled": disabled,
        "kinds": KINDS,
        "days": DAY_NAMES,
        "sounds": [
            (sound.name, f"{sound.name}, {format_duration(max(1, sound.seconds))}")
            for sound in sounds_of(session, editor.project.id)
        ],
        "deepest": DEEPEST_NAME,
        "long_ring": LONG_RING_SECONDS,
        "is_late": is_late,
        "cost_of": partial(cost_of_row, editor=editor),
    }


def step_contents(editor: Editor, forms: ScenarioForms) -> dict[str, str]:
    """By step: one word or two on what it holds."""
    values = editor.values
    steps = sum(1 for _ in steps_in(flow_typed(forms)))
    tagging = values["tagging"]
    chosen, to_buy = wanted_counts(values)
    numbers = _counted(chosen, "number", "no number")
    if to_buy:
        numbers = f"{chosen} + {to_buy} to buy" if chosen else f"{to_buy} to buy"
    typed = values["integrations"]["parts"]
    receivers = [
        sentence for part in current_server().scenario_parts for sentence in part.preview(typed.get(part.name))
    ]
    places = lines_of(tagging["selectors"]) + lines_of(tagging["replace"])
    conditions = [line for name in TERMS for line in lines_of(values["terms"][name])]
    return {
        "numbers": numbers,
        "forwarding": format_count(steps, "step")
        if steps
        else _counted(len(rows_in_use(values, "destinations")), "destination", "no destination"),
        "tagging": _counted(len(places), "place", "nothing replaced"),
        "channels": _counted(len(rows_in_use(values, "channels")), "rule", "all dynamic"),
        "integrations": _counted(len(receivers), "receiver", "nobody told"),
        "terms": _counted(len(conditions), "condition", "everybody"),
    }


def _counted(amount: int, noun: str, none: str) -> str:
    return format_count(amount, noun) if amount else none


def wanted_counts(values: Values) -> tuple[int, int]:
    numbers = values["numbers"]
    count = numbers["to_buy"]["count"]
    more = parse_int(count, greatest=99_999) or 0
    return len(numbers["numbers"]) + len(lines_of(numbers["own"])), len(numbers["to_buy"]["numbers"]) + more


def choices(session: Session, editor: Editor) -> list[TrackingNumber]:
    """The numbers that the scenario has, then free ones that it may take."""
    own = numbers_by_scenario(session, [editor.scenario.id])[editor.scenario.id] if editor.scenario else []
    free = free_numbers(session, editor.project.id)
    chosen = {*editor.values["numbers"]["numbers"], editor.values["numbers"].get("overflow", "")}
    return (
        own
        + [number for number in free if number.e164 in chosen]
        + [number for number in free if number.e164 not in chosen][:MOST_FREE]
    )


def extra_choices(editor: Editor, numbers: Iterable[TrackingNumber]) -> list[tuple[str, str]]:
    """Which of these numbers may be shown when all others are taken, as (value, text), and the one that was chosen before."""
    offered = {"": "none"} | {number.e164: international(number.e164) for number in numbers}
    chosen = editor.values["numbers"].get("overflow", "")
    return list((offered | ({} if chosen in offered else {chosen: chosen})).items())


def chosen_numbers(editor: Editor) -> list[str]:
    """The numbers that were chosen, and the typed own ones that can be read."""
    numbers = editor.values["numbers"]
    own = [phone_or(line, editor.project.country) for line in lines_of(numbers["own"])]
    return list(dict.fromkeys([*numbers["numbers"], *filter(None, own)]))


def examples(editor: Editor) -> list[tuple[str, str]]:
    """Up to three of the scenario's numbers, one number of each country first, as pages show them; an example when it has none."""
    chosen = chosen_numbers(editor) + editor.values["numbers"]["to_buy"]["numbers"]
    numbers = [number for number in chosen if phone_or(number)]
    firsts: dict[str | None, str] = {}
    for number in numbers:
        firsts.setdefault(country_of(number), number)
    picked = list(dict.fromkeys([*firsts.values(), *numbers]))[:3]
    country = editor.project.country
    if not picked:
        number = phonenumbers.example_number(country) if country else None
        picked = [phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if number else EXAMPLE]
    mask = editor.values["tagging"]["format"]
    return [(e164, "–" if format_error(mask) else display(e164, mask, country)) for e164 in picked]


def rings(session: Session, editor: Editor) -> list[dict[str, str]]:
    """Each destination as a call reaches it: `{to, seconds, wrong, late}`; `wrong` says why it cannot, and `late` that the line's own
    voicemail may answer first."""
    rings = []
    for row in rows_in_use(editor.values, "destinations"):
        ring = {"to": row["to"], "seconds": row["ring_seconds"] or str(DEFAULT_RING_SECONDS), "wrong": "", "late": ""}
        seconds = parse_int(ring["seconds"]) or 0
        if seconds > LONG_RING_SECONDS:
            ring["late"] = f"Above {LONG_RING_SECONDS} s the line's own voicemail may answer before anybody does."
        try:
            ring["to"] = read_destination(row["to"], editor.project.country)
        except BadPhone as error:
            ring["wrong"] = str(error)
        rings.append(ring)
    tracking = tracking_among(session, [ring["to"] for ring in rings]) | set(chosen_numbers(editor))
    for ring in rings:
        if ring["to"] in tracking and not ring["wrong"]:
            ring["wrong"] = "is itself a tracking number: calls would go round in circles."
    return rings


def cost_of_row(text: str, editor: Editor) -> str:
    """The warning about what calls to a typed destination cost; empty when there is none."""
    with suppress(BadPhone):
        return cost_warning(read_destination(text, editor.project.country)) or ""
    return ""


def differing(editor: Editor) -> list[Step]:
    """The steps in which the draft says something else than what is stored now."""
    project, parts = editor.project, current_server().scenario_parts
    stored = values_of_document(editor.stored, parts, project.currency, project.country)
    sample = {"sample": "", "removed": None}
    return [step for step in STEPS if editor.values[step.name] | sample != stored[step.name] | sample]
