// The visit and its signs of life. A number is shown only while the server has confirmed it within its hold; requests go one after the other.

const TRIES = 3;

let visit;
let view;
let confirmedAt = 0;
let failures = 0;
let viewPending = false;
let beatPending = false;
let beatAt = 0;
let sentGa = "";
let withdrawn = false;
let timer;
let holdTimer;
let turn = Promise.resolve();

function inTurn(job) {
  turn = turn.then(job).catch(failed);
}

// Tells the server of a page view; its answer brings the numbers. A first page that it could not take yet keeps its evidence.
function pageViewed(page, referrer) {
  if (visit || !failures) view = { page: page, referrer: referrer };
  failures = 0;
  askForNumbers();
}

function askForNumbers() {
  const seen = view;
  viewPending = true;
  inTurn(() => {
    const sentAt = Date.now();
    const ga = attempt(readGa);
    return post("", {
      page: seen.page, referrer: seen.referrer, visitor: knownVisitor(), scenarios: attempt(chosenScenarios), ga: ga, click_ids: clickIds(seen.page),
      prefixes: oldPrefixes(),
    }).then((answer) => {
      if (answer.status === 204) return visitEnded();
      const found = answer.status === 201 && readVisit(answer.data);
      if (!found) throw answer;
      visit = found;
      sentGa = JSON.stringify(ga);
      viewPending = seen !== view;
      keepVisitor(visit.visitor);
      confirmed(sentAt);
    });
  });
}

function visitEnded() {
  visit = undefined;
  viewPending = false;
  clearTimeout(timer);
  display([]);
}

// A sign of life. One waits at a time, and events that come together cause one.
function beat() {
  checkHold();
  if (viewPending && failures) return askForNumbers();
  if (!visit || beatPending || Math.abs(Date.now() - beatAt) < 500) return;
  beatPending = true;
  beatAt = Date.now();
  inTurn(() => {
    beatPending = false;
    if (!visit) return;
    const sentAt = Date.now();
    const ga = attempt(readGa);
    const news = { ga: JSON.stringify(ga) !== sentGa ? ga : undefined, prefixes: oldPrefixes() };
    return post("/" + visit.token + "/alive", news).then((answer) => {
      if (answer.status === 404) return askForNumbers();
      const changed = answer.status === 204 ? [] : answer.status === 200 && readNumbers(answer.data);
      if (!changed) throw answer;
      // Only the numbers that changed are named, each takes its scenario's place; and scenarios that have none for this page any more.
      const gone = changed.map((number) => number.scenario).concat(answer.data?.withdrawn);
      visit.numbers = inOrder(visit.numbers.filter((number) => !gone.includes(number.scenario)).concat(changed));
      sentGa = JSON.stringify(ga);
      confirmed(sentAt);
    });
  });
}

function confirmed(sentAt) {
  failures = 0;
  confirmedAt = sentAt;
  clearTimeout(holdTimer);
  const passed = Math.max((Date.now() - sentAt) / 1000, 0);
  holdTimer = setTimeout(safely(() => display([])), (visit.hold - passed) * 1000);
  display(visit.numbers);
  beatAfter(Math.max(visit.aliveEvery - passed, 1));
}

function failed() {
  failures++;
  if (visit || failures <= TRIES) beatAfter(Math.min((visit ? visit.aliveEvery : settings.alive) * Math.pow(2, failures) / 6, 360));
}

function beatAfter(seconds) {
  clearTimeout(timer);
  timer = setTimeout(safely(beat), seconds * 1000);
}

// What the server could not confirm for so long may be somebody else's by now: the page's own number comes back. The timer does not
// depend on the clock, which may be set back; the clock tells of a sleep, in which the timer stood still.
function checkHold() {
  if (visit && Date.now() - confirmedAt >= visit.hold * 1000) display([]);
}

function display(numbers) {
  whenReady(() => show(withdrawn ? [] : numbers));
}

function left() {
  say("/left");
}

// A visitor who taps a number of ours is about to call it. The link may take the page away.
function tapped(event) {
  const link = event.target.closest(TEL);
  if (link && shown.some((number) => link.href === "tel:" + number.e164)) say("/tap", JSON.stringify({ e164: link.href.slice(4) }));
}

function say(what, body) {
  if (visit) navigator.sendBeacon(address("/" + visit.token + what), body);
}

// GA's cookies and answers appear late: when they do, the server hears of it at once.
function awaitGa(seconds) {
  const ga = attempt(readGa);
  const news = JSON.stringify(ga) !== sentGa;
  if (news && visit) beat();
  if (seconds && (news || !(ga?.client_id && ga.session_id))) setTimeout(safely(() => awaitGa(seconds - 1)), 1000);
}
