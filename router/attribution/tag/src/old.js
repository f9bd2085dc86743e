// The old page variables and classes, for projects without scenarios.
//   roistatPhonePrefix      "7495" or a list: only numbers that begin so
//   roistatPhonePrefixBind  {"7495": "msk"}: elements whose class ends in -msk show a number of that prefix, or keep their own
//   roistat-phone           the whole number; -country, -region, -number: a part of it; -tel: only where the link leads. Each with a suffix
//                           (roistat-phone-spb, roistat-phone-number-spb); a word that names a part is never a suffix, and the first class
//                           of an element that names one decides.

const OLD_CLASS = /(?:^|\s)roistat-phone(?:-(country|region|number|tel))?(?:-(\S+))?(?!\S)/;
const OLD_LINKS = ",a[href][class*=roistat-phone-tel]";

// What this page asks for; undefined when it says nothing.
const oldPrefixes = () => {
  return attempt(() => {
    const asked = Object.entries(Object(window.roistatPhonePrefixBind))
      .concat([].concat(window.roistatPhonePrefix || []).map((prefix) => [prefix, ""]))
      .map(([prefix, suffix]) => ({ prefix: String(prefix), suffix: String(suffix) }));
    return asked[0] && asked;
  });
};

// The number of an element by its classes; with a part of it for display, when it names a part.
const oldNumber = (element, linked) => {
  const [found, part, suffix] = OLD_CLASS.exec(element?.getAttribute("class")) || [];
  const bound = oldPrefixes()?.some((one) => suffix === one.suffix);
  const number = found && shown.find((one) => one.suffixes?.includes(bound ? suffix : ""));
  if (part === "tel" && !linked) return undefined;
  return number && part ? partOf(number, number.parts[part]) : number;
};

// Of a free number an answer says in which classes it is shown, and what the classes for a part of it show.
const isOldNumber = (number) => {
  return number.scenario === null && number.suffixes.concat(Object.values(number.parts)).every((text) => text.concat);
};

// Text is not searched and links are not known by what they dial: such a project names no numbers to be replaced.
const learn = () => {};
const named = learn;
const claimAll = (claim) => claim("[class*=roistat-phone]", oldNumber);
const numberOfLink = (link, near) =>
  /[;,]/.test(original(link)) ? undefined : oldNumber(near("[class*=roistat-phone]"), true);
const beside = () => "";

const searched = (node, text) => text;
