// Pages that a server has rendered and a framework takes over: a text that changed before would be an error there, and be taken back.

// The comments that React and Vue leave between texts and around parts of a page.
const isMarked = () => {
  const walker = document.createTreeWalker(document.body, 128);
  while (walker.nextNode()) if (/^[ $[]?$/.test(walker.currentNode.data)) return true;
  return false;
};

// Whether a framework is to take this element over. Vue marks its container when it has done so, React each element on the way; parts that
// React takes over later stand between the comments `$` and `/$`. Of pages that show nothing of that, nobody is waited for any more when
// they have had their time.
const isAwaited = (element) => {
  let awaited = (marked ??= isMarked()) || element.closest("#__next,#root,#app");
  for (let at = element, depth = 0, below; at && depth++ < 50; below = at, at = at.parentNode) {
    for (const [key, value] of Object.entries(at)) {
      if (/__vue_app/.test(key)) return false;
      if (/__reactC/.test(key)) awaited = true;
      if (/__reactF/.test(key)) {
        for (let fiber = value; fiber; fiber = fiber.return) if (fiber.flags & 4096) return true; // "hydrating": it still compares
        while (below && (below.nodeType !== 8 || !/^[$/]/.test(below.data))) below = below.previousSibling;
        return below?.data[0] === "$";
      }
    }
  }
  return !late && awaited;
};
