// Finds numbers in the text of the page and in its links by how they are written. For projects with scenarios, which have no old classes.

const OLD_LINKS = "";

const owners = new Map(); // whose a spelling is: the lowest scenario's

const oldPrefixes = () => {};
const isOldNumber = oldPrefixes;

const learn = (numbers) => {
  owners.clear();
  numbers.map((number) => number.spellings.map((key) => owners.has(key) || owners.set(key, number)));
};

const claimAll = (claim) => shown.map((number) => number.selectors.map((selector) => claim(selector, () => number)));

// Whose number a link dials: of a selector that claims it (itself, inside or around), else by what it dials. It dials what it says: one that
// still shows another number than ours keeps it.
const numberOfLink = (link, near) =>
  attempt(() => {
    const before = decodeURIComponent(original(link).replace(/[\0- ]/g, ""));
    return (
      /^(tel|callto):[^;,#pw]*$/i.test(before) &&
      !(digitsOf(link.textContent)[6] && textNodes(link, true).every((node) => present(node) === original(node))) &&
      (shown.find((number) => number.selectors.some(near)) || named(before))
    );
  });

const named = (text) => owners.get(spelling(text));

// The text of a node with every whole number that belongs to a scenario replaced.
const searched = (node, text) => swapped(text, numbersIn(text, inFormOf, node));

// What stands just before or after a node, in a neighbour: `<small>8 (495)</small> 123-45-67`, `<b>123-45-67</b> ext. 5`, `<td>Fax</td><td>`.
const beside = (at, isBefore) => {
  const [side, isText, inline] = [isBefore ? "previousSibling" : "nextSibling", at.data, RegExp(rules.inline)];
  while (!at[side] && inline.test(at.parentNode?.nodeName)) at = at.parentNode;
  do at = at[side];
  while (at?.data?.trim() === "");
  const text = at?.textContent.trim() || "";
  return isText && inline.exec(at?.nodeName)?.[1] ? text : text.replace(/\d/g, "|");
};
