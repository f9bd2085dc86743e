// How numbers are written, and how written ones are found. What can be a number here, and ours in each form, comes with the answer: the
// tag knows no country (docs/numbers.md).

// With the digits of Arabic, Persian and Japanese pages as ours.
const plain = (text) => text.replace(/[٠-٩۰-۹０-９]/g, (digit) => digit.charCodeAt() & 15);
const digitsOf = (text) => plain(text).replace(/\D/g, "");
const spelling = (text) => text.replace(/[^+\d]/g, "");

// [our number in the form of the text, whether the text is a number only if there is no better one beside it, the number]; undefined: the
// text is none. With as many digits ours keeps the text's separators, where they fit.
const inFormOf = (text, number = named(text)) => {
  for (const [pattern, shown, weak] of number?.written || []) {
    const found = RegExp("^(?:" + pattern + ")$").exec(spelling(text) + "\n" + text.replace(/[^+\d()[\]]/g, ""));
    const digits = [...digitsOf(shown)];
    const fits = found?.[1] && digits.length === digitsOf(text).length;
    if (found) return [fits ? text.replace(/\d/g, () => digits.shift()) : shown, !named(text) && weak, number];
  }
  return named(text) && [number.display, "", number];
};

// The numbers in a node's text, the last one first: [what is written, where, what `read` makes of it]. What stands before and after, also in
// its neighbours, may say that it is none of ours: an extension, a fax, a part of a longer one. A slash stands in a number or between two, of
// which both are numbers or one is named; the seam of two texts as well, of which one may be none.
const numbersIn = (text, read, node, all = text, from = 0) =>
  [...plain(text).matchAll(RegExp(rules.number, "g"))].reverse().flatMap((run) => {
    const old = run[0];
    const at = from + run.index;
    const found = read(old);
    const says = (rule, words) => RegExp(rule, "isu").test(words);
    if (found) {
      return says(rules.before, " " + beside(node, true) + " " + all.slice(0, at)) ||
        says(rules.after, all.slice(at + old.length) + " " + beside(node))
        ? []
        : [[old, at, found]];
    }
    const seam = /\0/.test(old);
    const pieces = old.split(seam ? "\0" : "/");
    const parts = pieces[1] ? numbersIn(pieces.join("|"), read, node, all, at).filter(isSure) : [];
    return seam || pieces.filter((piece) => digitsOf(piece)[2]).length === parts.length
      ? parts
      : parts.filter((part) => named(part[0]));
  });

const isSure = (found) => !found[2][1];

// A text with ours in place of what is written. Where that is spread over several texts, ours is cut where the first one has its digits, and
// the last one has the rest.
const swapped = (text, found) =>
  found.reduce((result, [old, at, [shown, , number]]) => {
    if (!place(number)) return result;
    const [first, ...more] = old.split("\0");
    if (more[0] && !/\0/.test(shown)) {
      shown = shown.replace(
        RegExp("^(\\D*\\d){0," + digitsOf(first).length + "}\\S*"),
        "$&" + "\0".repeat(more.length),
      );
    }
    return result.slice(0, at) + shown + result.slice(at + old.length);
  }, text);

// The texts of a number's element with each written number replaced, also one that is spread over several of them; undefined: there is none.
const replaced = (texts, number, element) => {
  const text = texts.join("\0");
  const whole = number.part && /\d([^]*\d)?/.exec(text);
  const found = whole
    ? [[whole[0], whole.index, inFormOf(whole[0], number)]]
    : numbersIn(
        text.replace(RegExp(rules.other, "giu"), (other) => "|".repeat(other.length)),
        (old) => inFormOf(old, number),
        element,
      );
  return found[0] && swapped(text, found.some(isSure) ? found.filter(isSure) : found).split("\0");
};
