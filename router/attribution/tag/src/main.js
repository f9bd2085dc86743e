// Puts the parts together on this page. Nothing here or above may throw into it.

const test = !!queryValue(location, "router_test") || undefined;

// The one global name. It holds the page's options before the tag has loaded, and this afterwards:
//   visit, numbers       the visit's number, and the tracking numbers of the page: {scenario, e164, display}; null and [] when there are none
//   ready(callback)      calls back when these are known; they are undefined before
//   params(fields)       own fields of the visit: {name: text}
//   refresh()            asks for numbers anew
//   consent(level)       "none", "limited" or "full"
//   restore()            takes every swap back and keeps the page's own numbers for as long as the page lives
const api = {
  ready: safely((callback) => {
    waiting.push(callback);
    if (api.numbers) tellPage();
  }),
  params: safely((fields) => {
    keepParams(fields);
    beat();
  }),
  refresh: safely(() => {
    withdrawn = false;
    speak(true);
  }),
  consent: safely(chooseConsent),
  restore: safely(() => {
    withdrawn = true;
    display([]);
  }),
};

const tellPage = () => {
  api.visit = visit?.visit || null;
  api.numbers = visit?.numbers.filter((number) => !number.gone) || [];
  waiting.splice(0).map((callback) => callback?.call && setTimeout(() => callback(api)));
};

// Window sees every event first.
const listen = (event, action) => addEventListener(event, safely(action), true);

// Staff open a page with ?router_off=1 once: their browser keeps the site's own numbers until ?router_off=0. So does one that a program
// drives, where the project says so.
const isSilent = () => consent === "none" || cookie(OFF)[1] || (navigator.webdriver && settings.webdriver);

const start = () => {
  const off = queryValue(location, OFF);
  if (off) keepCookie(OFF, +off);
  consent = allowed(
    consent ||
      option("consent") ||
      (settings.gpc && navigator.globalPrivacyControl && REFUSED) ||
      (!cookie(VISITOR)[1] && settings.consent) ||
      "full",
  );
  forgetUnlessAgreed();
  keepParams(pageOptions.params);
  api.ready(pageOptions.ready);
  attempt(goOn);
  followAddress();
  listen("DOMContentLoaded", passAll);
  listen("visibilitychange", () => document.hidden || beat());
  listen("pageshow", (event) => event.persisted && beat());
  listen("pagehide", () => say("left", { shown: [...used] }));
  listen("click", tapped);
  // Where there is no navigation API, the page's own changes tell of another address.
  window.navigation?.addEventListener("currententrychange", safely(followAddress));
  look();
};

if (!pageOptions.restore) {
  window.routerTag = api;
  if (document.prerendering) listen("prerenderingchange", start);
  else attempt(start);
}
