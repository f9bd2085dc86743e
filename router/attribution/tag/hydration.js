// Pages that a server has rendered and a framework takes over: a text that changed before would be an error there, and be taken back.

// The comments that React and Vue leave between texts and around parts of a page.
const isMarked = () => {
  const walker = document.createTreeWalker(document.body, 128);
  while (walker.nextNode()) if (/^[ $[]?$/.test(walker.currentNode.data)) return true;
  return false;
};

// Whether a framework is to take this element over. Vue marks its container when it has done so. React marks each element on the way, and
// says of the container when it is done; parts that come later stand between the comments `$` and `/$`. Of pages that show nothing of that,
// nobody is waited for any more when they have had their time.
const isAwaited = (element) => {
  let awaited = !late && ((marked = marked ?? isMarked()) || element.closest("#root,#app,#__next,#__nuxt"));
  let apart = true;
  for (let at = element; at; at = at.parentNode) {
    Object.entries(at).map(([key, value]) => {
      if (/__vue_app/.test(key)) awaited = false;
      if (/__reactF/.test(key)) apart = false;
      if (/__reactC/.test(key)) awaited = value?.stateNode?.current?.memoizedState?.isDehydrated;
    });
    for (let before = at; apart && before; before = before.previousSibling) {
      const mark = before.nodeType === 8 && before.data[0];
      if (mark === "$") return true;
      if (mark === "/") break;
    }
  }
  return awaited;
};
