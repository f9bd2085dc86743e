// How a number is written, and how written numbers are found.

const GAP = "[\\s().\\-\\u2010-\\u2015\\u2212]{0,4}";
const WRITTEN = /\(?\+?\(?\d(?:[\s().\-\u2010-\u2015\u2212]{0,4}\d){0,5}(?:[\s).\-\u2010-\u2015\u2212]{0,4}\d)+/g; // no bracket opens late in a number

function digitsOf(text) {
  return text.replace(/\D/g, "");
}

// `+` and all digits when it is written internationally (+ or 00), else the digits alone.
function spelling(text) {
  const digits = digitsOf(text);
  if (/^\D*\+/.test(text)) return "+" + digits;
  return /^00[1-9]/.test(digits) ? "+" + digits.slice(2) : digits;
}

// The text of a number where `original` stood: in the scenario's format; without one, in the original's form if its digits fit, else in
// the national form. `display` is both the formatted and the national one; `keep_form` says that there is no format.
function written(number, original) {
  return inForm(number.part ? number.display : number.keep_form && sameForm(number, original), original) || number.display;
}

// The original with these digits instead of its own, when it has as many.
function inForm(text, original) {
  const digits = digitsOf(text || "");
  let index = 0;
  return digits.length === digitsOf(original).length && original.replace(/\d/g, () => digits[index++]);
}

// The digits of the number in the form of the original: international or national, with or without trunk prefix; undefined: none fits.
function sameForm(number, original) {
  const digits = digitsOf(original);
  const full = number.e164.slice(1);
  const national = digitsOf(number.display);
  let shared = 0;
  while (shared < national.length && full[full.length - 1 - shared] === national[national.length - 1 - shared]) shared++;
  const code = full.slice(0, full.length - shared);
  const fits = (form) => form.length === digits.length;
  const local = full.slice(code.length);
  if (/^\D*\+/.test(original)) return [full, code + national].find(fits);
  if (spelling(original)[0] === "+") return ["00" + full].find(fits);
  return [full[0] === digits[0] && full, national, digits[0] !== "0" && local].find((form) => form && fits(form));
}

// Numbers to be found in text: `pattern` finds their spellings, `owner` says whose a spelling is (the lowest scenario's).
function textSearch(numbers) {
  const owner = new Map();
  numbers.forEach((number) => (number.spellings || number.replace).map(spelling).forEach((key) => {
    if (digitsOf(key).length > 4 && !owner.has(key)) owner.set(key, number);
  }));
  const spellings = [...owner.keys()].sort((one, other) => other.length - one.length)
    .map((key) => (key[0] === "+" ? "(?:\\+|00)" + GAP : "") + digitsOf(key).split("").join(GAP));
  return { owner: owner, pattern: spellings.length ? new RegExp("\\(?(?:" + spellings.join("|") + ")", "g") : null };
}

// The text with every whole number that belongs to a scenario replaced. `lead` is a number's beginning that stands just before this text.
function replaceInText(text, lead, search) {
  if (!search.pattern) return text;
  return text.replace(search.pattern, (match, at) => {
    const stray = match[0] === "(" && match.indexOf(")") < 0 ? "(" : "";
    const found = match.slice(stray.length);
    const number = search.owner.get(spelling(found));
    const before = text.slice(0, at);
    if (!number || !standsAlone((before.trim() ? before : lead || before) + stray, text.slice(at + match.length))) return match;
    return stray + written(number, found);
  });
}

// Not a part of a longer number, word or address.
function standsAlone(before, after) {
  return !/[\w+=@&#]$|\w\/$|[\d+](?:[^\S\n]|[().\-\u2010-\u2015\u2212]|[)\-][^\S\n])?\(?$/.test(before) &&
    !/^(?:[^\S\n]|[().\-\u2010-\u2015\u2212])?\d|^\w/.test(after);
}
