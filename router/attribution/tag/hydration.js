// Pages that a server has rendered and a framework takes over: a text that changed before would be an error there, and be taken back.

const RENDERED = "#root,#app,#__next,#__nuxt,#___gatsby," + option("hydrates");

// React marks each element that it has taken over, Vue the container. When the page has had its time, nobody is waited for any more.
const isSettled = (element) => {
  let waits = !late && (window.__next_f || element.closest(RENDERED));
  for (let at = element; at && !late; at = at.parentNode) {
    const keys = Object.keys(at).join();
    if (/__vue_app__/.test(keys) || (at === element && /__reactFiber/.test(keys))) return true;
    waits = waits || /__reactContainer/.test(keys);
  }
  held = held || waits;
  return !waits;
};
