// How a number is written, and how written numbers are found.

const WRITTEN = /\(?\+?\(?\d(?:[\s().\-‐-―−]{0,4}\d){0,5}(?:[\s).\-‐-―−]{0,4}\d)+/g; // no bracket opens late in a number
const EXTENSION = /^[\s,;.(]*(?:x|ext\w*|int|доб\S*|#)[\s.:#=]*\d|^[,;/]\d{1,5}\b(?!.?\d)/i;

const digitsOf = (text) => text.replace(/\D/g, "");

// `+` and all digits when it is written internationally (+ or 00), else the digits alone.
const spelling = (text) => (/^\D*\+/.test(text) ? "+" : "") + digitsOf(text).replace(/^00(?=[1-9])/, "+");

// The text of a number where `original` stood: in the scenario's format; without one, in the original's form if its digits fit, else in
// the national form. `display` is both the formatted and the national one; `forms` says that there is no format. A number that was given
// back is not written: it has to be asked for again.
const written = (number, original) => {
  if (!place(number)) return original;
  const digits = [...digitsOf((number.part ? number.display : number.forms && sameForm(number, original)) || "")];
  return digits.length === digitsOf(original).length ? refilled(original, digits) : number.display;
};

// A text with these digits instead of its own; it takes them away.
const refilled = (text, digits) => text.replace(/\d/g, () => digits.shift());

// The digits of the number in the form of the original: international or national, with or without trunk prefix; undefined: none fits.
// `forms` are country code and national digits, national digits, and those without trunk prefix.
const sameForm = (number, original) => {
  const digits = digitsOf(original);
  const full = number.e164.slice(1);
  const [plus, national, local] = number.forms;
  return (/^\D*\+/.test(original) ? [full, plus]
    : spelling(original)[0] === "+" ? ["00" + full]
    : [full[0] === digits[0] && full, national, digits[0] !== "0" && local]).find((form) => form && form.length === digits.length);
};

// The written numbers in a text, the last one first: each with its place, and the text before and after it.
const runsOf = (text, pattern) => [...text.matchAll(pattern)].reverse().map((run) => {
  const open = +/^\([^)]*$/.test(run[0]);
  const from = run.index + open;
  const old = run[0].slice(open);
  return [old, from, text.slice(0, from), text.slice(from + old.length)];
});

// The texts of a number's element with each written number replaced, also one that is spread over several of them; undefined: there is none.
const replaced = (texts, number) => {
  const runs = runsOf(texts.join(""), number.part ? /\d(.*\d)?/gs : WRITTEN).filter(([old]) => number.part || digitsOf(old).length > 5);
  if (!runs[0]) return undefined;
  if (runs.some(([old]) => digitsOf(old).length > 15)) return texts[1] && texts.map((text) => (replaced([text], number) || [text])[0]);
  return runs.reduce((result, [old, from, , after]) => (EXTENSION.test(after) ? result : spread(result, from, old, written(number, old))), texts);
};

// Puts a text where `old` stands at `from` of the joined texts; where it is spread over several, each keeps its digits' places, if they fit.
const spread = (texts, from, old, text) => {
  const digits = [...digitsOf(text)];
  const fits = digits.length === digitsOf(old).length;
  return texts.map((one) => {
    const start = Math.max(from, 0);
    const piece = one.slice(start, Math.max(from + old.length, 0));
    from -= one.length;
    if (!piece) return one;
    const put = piece === old ? text : fits ? refilled(piece, digits) : digits.splice(0)[0] ? text : "";
    return one.slice(0, start) + put + one.slice(start + piece.length);
  });
};
