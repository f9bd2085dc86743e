// Finds numbers in the text of the page and in its links by how they are written. For projects with scenarios, which have no old classes.

const INLINE = /^(A|B|EM|I|SMALL|SPAN|STRONG|SU[BP]|#text)$/;
const OLD_LINKS = "";
const OLD_ELEMENTS = "_";

const owners = new Map(); // whose a spelling is: the lowest scenario's

const oldNumber = () => {};
const oldPrefixes = oldNumber;
const isOldNumber = oldNumber;

const learn = (numbers) => {
  owners.clear();
  numbers.map((number) => (number.spellings || number.replace).map(spelling).map((key) => owners.has(key) || owners.set(key, number)));
};

// The text of a node with every whole number that belongs to a scenario replaced: not a part of a longer number, word or address.
const searched = (node, text) => runsOf(text, WRITTEN).reduce((result, [old, from, before, after]) => {
  const number = owners.get(spelling(old));
  const apart = number &&
    !/[\w+=@&#]$|\w\/$/.test(before.trim() ? before : /^[+(]*\d{1,5}[)-]?$/.test(beside(node, "previousSibling")) ? 0 : "") &&
    !/^[\w@]/.test(after) && !EXTENSION.test(after.trim() ? after : beside(node, "nextSibling"));
  return apart ? spread([result], from, old, written(number, old))[0] : result;
}, text);

// What stands just before or after a text, in an element of its own: `<small>8 (495)</small> 123-45-67`, `<b>123-45-67</b> ext. 5`.
const beside = (at, side) => {
  while (!at[side] && INLINE.test(at.parentNode?.nodeName)) at = at.parentNode;
  do at = at[side]; while (at?.data?.trim() === "");
  return INLINE.test(at?.nodeName) ? at.textContent.trim() : "";
};

const dialled = (link) => attempt(() => owners.get(spelling(decodeURIComponent(link.slice(4)))));
