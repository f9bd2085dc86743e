// Talking to the server: text/plain, so that no preflight is needed; without credentials; and no word of an answer is believed unchecked.

const PATIENCE = 5000;

// Resolves to {status, data}; data is undefined when it is no JSON. Rejects when the server is gone or slow.
function post(path, body) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), PATIENCE);
  return fetch(address(path), { method: "POST", body: JSON.stringify(body), keepalive: true, credentials: "omit", signal: abort.signal })
    .then((answer) => answer.text().then((text) => ({ status: answer.status, data: attempt(() => JSON.parse(text)) })))
    .finally(() => clearTimeout(timer));
}

function address(path) {
  return settings.base + "/tag/" + settings.key + "/visits" + path;
}

// The visit in an answer; nothing when it is nonsense.
function readVisit(data) {
  const numbers = readNumbers(data);
  return numbers && isName(data.token) && isName(data.visitor) && {
    token: data.token,
    visitor: data.visitor,
    numbers: numbers,
    aliveEvery: within(data.alive_every, 5, 600) || settings.alive,
    hold: within(data.hold, 5, 86400) || settings.hold,
  };
}

// Numbers by ascending scenario; nothing when one of them is nonsense.
function readNumbers(data) {
  return data && Array.isArray(data.numbers) && data.numbers.every(isNumber) && inOrder(data.numbers);
}

function inOrder(numbers) {
  return numbers.sort((one, other) => one.scenario - other.scenario);
}

function isNumber(number) {
  return number && (number.scenario === null ? isTexts(number.suffixes) && isTexts(Object.values(number.parts)) : Number.isSafeInteger(number.scenario)) &&
    isText(number.e164) && /^\+[1-9]\d{6,14}$/.test(number.e164) &&
    isText(number.display) && /\S/.test(number.display) &&
    isTexts(number.selectors) && isTexts(number.replace) && isTexts(number.spellings || []);
}

function isText(value) {
  return typeof value === "string" && value.length < 500;
}

function isTexts(value) {
  return Array.isArray(value) && value.every(isText);
}

function within(value, least, most) {
  return value >= least && value <= most && +value;
}
