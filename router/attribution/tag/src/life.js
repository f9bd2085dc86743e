// The visit and its signs of life. A number is shown only while the server has confirmed it within its hold; requests go one after the other.

const params = {};

// Tells the server of a page view; its answer brings the numbers. In single-page applications another path or query is another page view, and
// the page before is its referrer. A fragment is told only when it may hold a campaign: others may hold secrets. Until there is a visit, the
// first page keeps its evidence.
const followAddress = () => {
  const before = page;
  const parts = location.href.split("#");
  page = parts[0];
  if (page === before) return;
  if (visit || !view)
    view = { page: /utm_|id=/.test(parts[1]) ? location.href : page, referrer: before ?? document.referrer };
  first ||= view;
  failures = 0;
  speak(true);
};

// A page view, or a sign of life of the visit: with all that the server does not know yet. It is text/plain, so that no preflight is needed,
// without credentials, unless the site itself serves the tag, and has failed when the server is gone or takes 5 s.
const speak = (anew) => {
  const seen = anew ? view : first;
  if (anew) asking = true;
  turn = turn
    .then(async () => {
      if (isSilent()) return tellPage();
      if (anew) told = { consent: '"full"', ga: "{}" };
      else if (!visit?.visit) return;
      const news = {
        page: reported(seen.page),
        referrer: reported(seen.referrer),
        ga: attempt(readGa),
        params: readParams(),
        consent: consent,
        ...(anew
          ? {
              visitor: [consent === "full" && cookie(VISITOR)[1], remembered()[1]?.visitor, visit?.visitor].find(
                isName,
              ),
              scenarios: attempt(chosenScenarios),
              test: test,
            }
          : { shown: (late && !resumed) || !hasUnused() ? [...used] : undefined }), // else the page may still be getting there
      };
      for (const name in news) if (JSON.stringify(news[name]) === told[name]) delete news[name];
      const sentAt = Date.now();
      const answer = await fetch(address(anew ? "" : "/" + visit.token + "/alive"), {
        method: "POST",
        body: JSON.stringify({ ...news, prefixes: oldPrefixes() }),
        keepalive: true,
        credentials: settings.own ? "include" : "omit",
      });
      const data = await answer.json().catch(() => ({ numbers: [] })); // none when it is no JSON
      forgetUnlessAgreed();
      demand(Date.now() - sentAt < 5000);
      if (answer.status === (anew ? 204 : 404)) return anew ? visitEnded() : speak(true);
      demand(anew ? answer.status === 201 : answer.ok);
      if (anew) {
        if (visit?.token !== checkedVisit(data).token) used.clear();
        visit = data;
        asking = false;
      } else {
        // It names only the numbers that changed, each takes its scenario's place; and the scenarios that have none for this page any more.
        visit.numbers = checkedNumbers(
          visit.numbers
            .filter((number) => {
              number.gone ||= data.withdrawn?.includes(number.scenario);
              return (
                !(number.gone && used.has(number.scenario)) &&
                !data.numbers.some((one) => one.scenario === number.scenario)
              );
            })
            .concat(data.numbers),
        );
      }
      if (isSilent()) return chooseConsent(consent); // said meanwhile
      for (const name in news) told[name] = JSON.stringify(news[name]);
      confirmed(sentAt, anew || news.consent);
    })
    .catch(() => {
      failures++;
      tellPage();
      // No more rarely than when it is answered: the server hears it also while its database is away.
      if (visit || failures < 4) beatAfter(Math.min(6 * 2 ** failures, visit ? visit.alive_every : 45));
    });
};

// The site's own fields.
const readParams = () => {
  for (const n of "12345") keepParams({ ["roistat_param" + n]: window["roistat_param" + n] });
  for (const name in params) return params;
};

const keepParams = (fields) => {
  for (const name in fields) if (fields[name] != null) params[name] = fields[name] + "";
};

const hasUnused = () => visit?.numbers.some((number) => !number.gone && number.scenario && !used.has(number.scenario));

const visitEnded = () => {
  visit = undefined;
  asking = false;
  clearTimeout(timer);
  display([]);
};

// A sign of life; events that come together cause one. What the server could not confirm for so long may be somebody else's by now: the
// page's own number comes back. The timer of that does not depend on the clock, which may be set back; the clock tells of a sleep, in which
// the timer stood still.
const beat = () => {
  if (visit && Date.now() - confirmedAt >= visit.hold * 1000) display([]);
  if (asking && failures) return speak(true);
  if (!visit || Math.abs(Date.now() - beatAt) < 500) return;
  beatAt = Date.now();
  speak();
};

const confirmed = (at, anew) => {
  const passed = Math.max((Date.now() - at) / 1000, 0);
  failures = 0;
  confirmedAt = at;
  clearTimeout(holdTimer);
  holdTimer = setTimeout(
    safely(() => display([])),
    (visit.hold - passed) * 1000,
  );
  if (consent === "full" && visit.visit && (anew || remembered()[1])) remember(visit); // what another tab took away stays away
  display(visit.numbers);
  beatAfter(Math.max(visit.alive_every - passed, 1));
  setTimeout(safely(look), 2000);
};

// The next page of a visit shows its numbers at once, as long as they are confirmed.
const goOn = () => {
  const [at, kept] = remembered();
  const chosen = chosenScenarios();
  const age = Date.now() - at;
  if (test || isSilent() || !(age >= 0 && age < kept.hold * 1000)) return;
  kept.numbers = kept.numbers.filter((number) => number.scenario && (!chosen || chosen.includes(number.scenario)));
  visit = checkedVisit(kept);
  resumed = setTimeout(() => (resumed = 0), 60000); // the visit's other pages may say first which numbers they show
  confirmed(at);
};

const beatAfter = (seconds) => {
  clearTimeout(timer);
  timer = setTimeout(safely(beat), seconds * 1000);
};

const display = (numbers) => {
  tellPage();
  show(withdrawn ? [] : numbers);
};

// A visitor who taps a number of ours is about to call it. The link may take the page away.
const tapped = (event) => {
  const href = present(event.target.closest(TEL));
  if (shown.some((number) => href === "tel:" + number.e164)) say("tap", { e164: href.slice(4) });
};

// Once a second, until ten seconds after the page was loaded, and after each answer: GA's cookies and answers appear late, frameworks take
// their time, and numbers that have no place here are given back soon.
const look = () => {
  clearTimeout(lookTimer);
  if (document.readyState === "complete" && ++calm === 3) {
    late = true;
    passAll();
  }
  if (
    visit &&
    !asking &&
    (JSON.stringify(attempt(readGa)) !== told.ga || (late && !resumed && !told.shown && hasUnused()))
  )
    beat();
  if (calm < 10) lookTimer = setTimeout(safely(look), 1000);
};
