// Swaps numbers on the page. Text changes only inside text nodes, links only in href, and each keeps its original: with no numbers to
// show, the same pass takes every swap back.

const FORBIDDEN = 'script,style,noscript,template,textarea,input,select,iframe,img,a[href^="sms" i],a[href^="mailto:" i],a[href*="wa.me" i],a[href*="whatsapp" i]';
const INLINE = /^(?:A|B|BDI|EM|FONT|I|SMALL|SPAN|STRONG|SUB|SUP|U)$/;
const TEL = 'a[href^="tel:" i],a[href][class*=roistat-phone-tel]';
const PASSES_A_SECOND = 20;

const originals = new WeakMap();
let shown = [];
let search = textSearch([]);
let observer;
let passes = 0;
let pause;

// Shows these numbers from now on, also in what the page adds or renders again.
function show(numbers) {
  shown = numbers;
  search = textSearch(numbers);
  if (!observer && numbers.length) observer = new MutationObserver(safely(pageChanged));
  if (observer) pass([document.body]);
}

function pageChanged(records) {
  if (pause) return;
  if (!passes) setTimeout(() => { passes = 0; }, 1000);
  if (++passes > PASSES_A_SECOND) { // another script may be writing against us: it must never cost the page more than this
    pause = setTimeout(safely(() => { pause = 0; pass([document.body]); }), 1000);
    return;
  }
  pass([].concat(...records.map((record) => (record.type === "childList" ? [...record.addedNodes] : record.target))));
}

function pass(roots) {
  if (!document.body) return;
  const claimed = claimedTexts();
  claimed.forEach((text, node) => settle(node, text));
  new Set(roots).forEach((root) => {
    textNodes(root).forEach((node) => {
      if (!claimed.has(node)) settle(node, replaceInText(original(node), leadOf(node), search));
    });
    telLinks(root).forEach((link) => settle(link, linkTarget(link)));
  });
  observer.observe(document, { childList: true, characterData: true, subtree: true, attributeFilter: ["href"] });
  observer.takeRecords();
}

// A country code or prefix in an element of its own, just before this text: `<small>8 (495)</small> 123-45-67`.
function leadOf(node) {
  let at = node;
  while (!at.previousSibling && INLINE.test(at.parentNode.nodeName)) at = at.parentNode;
  do at = at.previousSibling; while (at && at.nodeType === 3 && !at.data.trim());
  const text = at && (at.nodeType === 3 || INLINE.test(at.nodeName)) ? at.textContent.trim() : "";
  return /^[+(]*\d{1,5}[)-]?$/.test(text) ? text : "";
}

// What a text says, or where a link leads.
function present(node) {
  return node.data ?? node.getAttribute("href");
}

// What the page itself wrote: its own later change makes a new original.
function original(node) {
  const kept = originals.get(node);
  return kept?.after === present(node) ? kept.before : present(node);
}

function settle(node, wanted) {
  const before = original(node);
  if (before !== wanted || originals.has(node)) originals.set(node, { before: before, after: wanted });
  if (present(node) === wanted) return;
  if (node.setAttribute) node.setAttribute("href", wanted);
  else node.data = wanted;
}

// Each text node that a selector claims, with its wanted text; the lowest scenario comes first and keeps it.
function claimedTexts() {
  const claimed = new Map();
  claims().forEach((number, element) => {
    const nodes = textNodes(element, true).filter((node) => !claimed.has(node));
    const texts = nodes.map((node) => original(node));
    const wanted = withNumber(texts, number);
    if (wanted) nodes.forEach((node, index) => claimed.set(node, wanted[index]));
    else if ((nodes[0] || !element.textContent) && mayBeFilled(element, texts)) claimed.set(nodes[0] || element.appendChild(document.createTextNode("")), written(number, ""));
  });
  return claimed;
}

function claims() {
  const claimed = new Map();
  const claim = (selector, known) => attempt(() => document.querySelectorAll(selector).forEach((element) => {
    const number = known || oldNumber(element);
    if (number && number.part !== "tel" && !claimed.has(element) && mayTouch(element)) claimed.set(element, number);
  }));
  claim(OLD_ELEMENTS);
  shown.forEach((number) => number.selectors.forEach((selector) => claim(selector, number)));
  return claimed;
}

// An element without a number in it: a leaf, unless it is a link with words of its own.
function mayBeFilled(element, texts) {
  return !element.firstElementChild && texts.length < 2 && (!texts.join("").trim() || !element.closest(TEL)) && document.body.contains(element);
}

function mayTouch(element) {
  return element && !element.isContentEditable && !element.closest(FORBIDDEN);
}

// The texts with each written number replaced, also one that is spread over several of them; undefined when there is none.
function withNumber(texts, number) {
  const whole = texts.join("");
  const runs = [...whole.matchAll(number.part ? /\d(.*\d)?/gs : WRITTEN)].filter((run) => number.part || digitsOf(run[0]).length > 5);
  if (!runs.length) return undefined;
  if (runs.some((run) => digitsOf(run[0]).length > 15)) {
    return texts.length > 1 ? texts.map((text) => (withNumber([text], number) || [text])[0]) : undefined;
  }
  return runs.reverse().reduce((result, run) => spread(result, run.index, run[0], number), texts);
}

// Puts the number where `run` stands at `start` of the joined texts; each text keeps as many digits as it had.
function spread(texts, start, run, number) {
  const open = run[0] === "(" && run.indexOf(")") < 0 ? 1 : 0;
  const from = start + open;
  const to = start + run.length;
  let rest = written(number, run.slice(open));
  let offset = 0;
  return texts.map((text) => {
    const begin = Math.max(from - offset, 0);
    const end = Math.min(to - offset, text.length);
    offset += text.length;
    if (begin >= end) return text;
    const piece = offset >= to ? rest : sameDigits(rest, text.slice(begin, end));
    rest = rest.slice(piece.length);
    return text.slice(0, begin) + piece + text.slice(end);
  });
}

// The beginning of a text that has as many digits as the old piece, and its length if that is possible.
function sameDigits(text, old) {
  const count = digitsOf(old).length;
  const alike = text.slice(0, old.length);
  return digitsOf(alike).length === count ? alike : new RegExp("^(?:\\D*\\d){0," + count + "}[\\s).\\-]*").exec(text)[0];
}

// The texts that may be changed: those with a digit, or all.
function textNodes(root, all) {
  const nodes = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = root.nodeType === 3 ? root : walker.nextNode(); node; node = walker.nextNode()) {
    if ((all || /\d/.test(node.data) || originals.has(node)) && mayTouch(node.parentElement)) nodes.push(node);
  }
  return nodes;
}

function telLinks(root) {
  const element = root.nodeType === 1 ? root : root.parentElement;
  return element ? [...element.querySelectorAll(TEL)].concat(element.closest(TEL) || []).filter(mayTouch) : [];
}

// `tel:` with the number whose selector or old class claims the link (itself, inside or around), else by what it dials.
function linkTarget(link) {
  const before = original(link);
  const selecting = shown.find((number) => number.selectors.some((selector) => attempt(() => link.closest(selector) || link.querySelector(selector)))) ||
    oldNumber(link.closest(OLD_ELEMENTS) || link.querySelector(OLD_ELEMENTS));
  const dialled = attempt(() => decodeURIComponent(before.slice(4)));
  const number = selecting || (/^[\d\s().+-]+$/.test(dialled) && search.owner.get(spelling(dialled)));
  return number ? "tel:" + number.e164 : before;
}
