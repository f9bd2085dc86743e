// Swaps numbers on the page. Text changes only inside text nodes, links only in href, and each keeps its original: with no numbers to
// show, the same pass takes every swap back.

const TEL = '[*|href*="tel:" i],[*|href*="callto:" i]' + OLD_LINKS;

const originals = new WeakMap();
const copies = new Map();
const used = new Set(); // scenarios whose number stands on the page

// Shows these numbers from now on, also in what the page adds or renders again.
const show = (numbers) => {
  shown = numbers;
  learn(numbers);
  if (!observer && visit) observer = new MutationObserver(safely(pageChanged));
  passAll();
};

const passAll = () => {
  pause = 0;
  if (observer && performance.timing?.domContentLoadedEventStart !== 0) pass([document.body]); // deferred scripts come before
};

const pageChanged = (records) => {
  followAddress();
  if (pause) return;
  if (writes > 20)
    pause = setTimeout(safely(passAll), 1000); // another script writes against us: it must never cost the page more
  else pass(records.flatMap((record) => (record.type === "childList" ? [...record.addedNodes] : record.target)));
};

const pass = (roots) => {
  wrote = held = woken = false;
  const claimed = claimedTexts();
  claimed.forEach((text, node) => settle(node, text));
  roots.map((root) => {
    textNodes(root).map((node) => claimed.has(node) || settle(node, searched(node, original(node))));
    telLinks(root).map((link) => settle(link, linkTarget(link)));
  });
  observer.observe(document, { childList: true, characterData: true, subtree: true, attributeFilter: ["href"] });
  observer.takeRecords();
  if (wrote && !writes++) setTimeout(() => (writes = 0), 1000);
  if (held && !pause) pause = setTimeout(safely(passAll), 50);
  if (woken && !asking) speak(true);
};

// There is a place for this number. false: it was given back, and is asked for again.
const place = (number) => {
  if (number.gone) woken = true;
  else if (number.scenario) used.add(number.scenario);
  return !number.gone;
};

// What a text says, or where a link leads.
const present = (node) => node.data ?? node.getAttribute(hrefOf(node));

// In drawings links have another name.
const hrefOf = (link) => (link.hasAttribute("href") ? "href" : "xlink:href");

// What the page itself wrote: its own later change makes a new original. Pages copy nodes (carousels, caches of whole pages), and what we
// wrote comes along.
const original = (node) => {
  const now = present(node);
  const [before, wanted] = originals.get(node) || [];
  return wanted === now ? before : (copies.get(now) ?? now);
};

const settle = (node, wanted) => {
  const before = original(node);
  if (before !== wanted) {
    // Only of whole numbers, and an element that was filled tells nothing of a number elsewhere.
    if (digitsOf(wanted)[6] && !/\d/.test(copies.get(wanted))) copies.set(wanted, before);
    originals.set(node, [before, wanted]);
  }
  if (present(node) === wanted) return;
  wrote = true;
  if (node.setAttribute) node.setAttribute(hrefOf(node), wanted);
  else node.data = wanted;
};

// Each text node that a selector claims, with its wanted text; the lowest scenario comes first and keeps it.
const claimedTexts = () => {
  const claimed = new Map();
  claims().forEach((number, element) => {
    const nodes = textNodes(element, true).filter((node) => !claimed.has(node));
    const texts = nodes.map(original);
    const wanted = replaced(texts, number, element);
    if (wanted) nodes.map((node, index) => claimed.set(node, wanted[index]));
    else if ((nodes[0] || !element.textContent) && mayBeFilled(element, texts) && place(number)) {
      claimed.set(nodes[0] || element.appendChild(document.createTextNode("")), number.display);
    }
  });
  return claimed;
};

const claims = () => {
  const claimed = new Map();
  const claim = (selector, numberOf) =>
    attempt(() =>
      document.body.querySelectorAll(selector).forEach((element) => {
        const number = numberOf(element);
        if (number && !claimed.has(element) && mayTouch(element)) claimed.set(element, number);
      }),
    );
  if (api.visit && !withdrawn) claim("[data-visit-number]", () => partOf({}, "" + api.visit));
  claimAll(claim);
  return claimed;
};

// A number that is shown in one way only.
const partOf = (number, shown) => ({ ...number, part: 1, display: shown, written: [["([^]+)", shown]] });

// An element without a number in it: a leaf, unless it says another number (a date, a fax) or is a link with words of its own.
const mayBeFilled = (element, texts) =>
  !element.firstElementChild &&
  !texts[1] &&
  !digitsOf(texts + "")[1] &&
  !(texts.join("").trim() && element.closest(TEL));

const mayTouch = (element) =>
  element && !element.isContentEditable && !element.closest(rules.never) && !(isAwaited(element) && (held = true));

// The texts that may be changed: those with so many digits as the shortest number has, or all. A price that reads like the visit number is
// not ours.
const textNodes = (root, all) => {
  const nodes = [];
  const walker = document.createTreeWalker(root, 4);
  for (let node = root.nodeType === 3 ? root : walker.nextNode(); node; node = walker.nextNode()) {
    if ((all || digitsOf(node.data)[4] || originals.has(node)) && mayTouch(node.parentElement)) nodes.push(node);
  }
  return nodes;
};

const telLinks = (root) => {
  const element = root.querySelectorAll ? root : root.parentElement;
  return element ? [...element.querySelectorAll(TEL), element.closest(TEL)].filter(mayTouch) : [];
};

const linkTarget = (link) => {
  const number = numberOfLink(link, (selector) =>
    attempt(() => link.closest(selector) || link.querySelector(selector)),
  );
  return number && place(number) ? "tel:" + number.e164 : original(link);
};
