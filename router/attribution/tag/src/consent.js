// What the visitor allows: none (no number), limited (a number, without cookie and click ids), or full. Until he has chosen, the project's
// mode counts; the cookie tells that he has said yes before. A consent manager calls routerTag.consent(level); anything else is a refusal.

const REFUSED = settings.consent === "none" ? "none" : "limited";
const CLICK_ID = /\b(\w*(?:cl\w?id|lick_?id|fat_id|[_c]cid|_eid|braid|epik|tblci|dicbo)=)[^&#]+/gi;

const allowed = (level) => (/^(none|limited|full)$/.test(level) ? level : REFUSED);

// Nothing is kept without full consent; it goes again where the server, which had not heard of the refusal, has set its cookie meanwhile.
const forgetUnlessAgreed = () => consent === "full" || remember();

const chooseConsent = (level) => {
  const before = consent;
  consent = allowed(level);
  forgetUnlessAgreed();
  if (consent === "none") {
    say("left", { consent: "limited" });
    visitEnded();
  } else if (consent !== before) speak(before === "none");
};

// Without full consent only that there was a click id, not which. These are the large networks', by what their names have in common; of the
// others the server keeps none.
const reported = (address) => (consent === "full" ? address : address.replace(CLICK_ID, "$1-"));
