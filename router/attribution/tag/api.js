// Talking to the server: text/plain, so that no preflight is needed; without credentials, unless the site itself serves the tag; and no
// word of an answer is believed unchecked.

// The answer with its `data`, which has no numbers when it is no JSON, and with the time when it was asked. Rejects when the server is gone
// or takes 5 s.
const post = async (path, body) => {
  const sentAt = Date.now();
  const answer = await fetch(address(path), { method: "POST", body: JSON.stringify(body), keepalive: true, credentials: settings.own ? "include" : "omit" });
  answer.data = await answer.json().catch(() => ({ numbers: [] }));
  answer.at = sentAt;
  forgetUnlessAgreed();
  demand(Date.now() - sentAt < 5000);
  return answer;
};

const say = (what, body) => {
  if (visit?.visit) navigator.sendBeacon(address("/" + visit.token + "/" + what), JSON.stringify(body));
};

const address = (path) => settings.base + "/tag/" + settings.key + "/visits" + path;

const demand = (fine) => {
  if (!fine) throw fine;
};

// Each of these throws when it is given nonsense.

const checkedVisit = (data) => {
  checkedNumbers(data.numbers);
  demand(isName(data.token) && isName(data.visitor) && data.rules.before);
  rules = data.rules;
  data.hold ||= 150;
  return data;
};

// By ascending scenario.
const checkedNumbers = (numbers) => {
  numbers.map((number) => {
    demand(/^\+[1-9]\d{6,14}$/.test(number.e164) && [number.display, ...number.selectors, ...number.spellings].every((text) => text.trim()));
    demand(number.written.every(([pattern, shown]) => RegExp(pattern) && shown.trim()));
    demand(Number.isInteger(number.scenario) || isOldNumber(number));
  });
  return numbers.sort((one, other) => one.scenario - other.scenario);
};

// Such as the server gives to visitors and visits.
const isName = (value) => value && /^[\w-]{1,64}$/.test(value);
