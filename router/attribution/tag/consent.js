// What the visitor allows: none (no number), limited (a number, without cookie and click ids), or full. Until he has chosen, the project's
// mode counts; the cookie tells that he has said yes before. A consent manager calls routerTag.consent(level); anything else is a refusal.

const REFUSED = settings.consent === "none" ? "none" : "limited";
const CLICK_ID = /([?&](?:gclid|gbraid|wbraid|yclid|msclkid|fbclid|ttclid)=)[^&]+/g;

const allowed = (level) => (/^(none|limited|full)$/.test(level) ? level : REFUSED);

const chooseConsent = (level) => {
  const before = consent;
  consent = allowed(level);
  if (consent !== "full") remember();
  if (consent === "none") {
    say("left");
    visitEnded();
  } else if (consent !== before) speak(before === "none");
};

// Without full consent only that there was a click id, not which.
const reported = (address) => (consent === "full" ? address : address.replace(CLICK_ID, "$1-"));
