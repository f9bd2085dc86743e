// Talking to the server: no word of an answer is believed unchecked.

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
    demand(
      /^\+[1-9]\d{6,14}$/.test(number.e164) &&
        [number.display, ...number.selectors, ...number.spellings].every((text) => text.trim()),
    );
    demand(number.written.every(([pattern, shown]) => RegExp(pattern) && shown.trim()));
    demand(Number.isInteger(number.scenario) || isOldNumber(number));
  });
  return numbers.sort((one, other) => one.scenario - other.scenario);
};

// Such as the server gives to visitors and visits.
const isName = (value) => value && /^[\w-]{1,64}$/.test(value);
