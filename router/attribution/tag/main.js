// Puts the parts together on this page. Nothing here or above may throw into it.

function safely(action) {
  return function () {
    return attempt(() => action.apply(this, arguments));
  };
}

function whenReady(action) {
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", safely(action));
  else action();
}

// Single-page applications: another path or query is another page view, and the page before is its referrer.
function followHistory() {
  let page = pageAddress();
  const moved = safely(() => {
    const before = page;
    page = pageAddress();
    if (page !== before) pageViewed(page, before);
  });
  ["pushState", "replaceState"].forEach((name) => {
    const own = history[name];
    history[name] = function () {
      const result = own.apply(this, arguments);
      moved();
      return result;
    };
  });
  addEventListener("popstate", moved);
}

// The one global name holds the page's options before the tag has loaded, and its functions afterwards: `restore()` takes every swap
// back and keeps the page's own numbers for as long as the page lives.
function start() {
  if (pageOptions.restore) return;
  window.routerTag = {
    restore: safely(() => {
      withdrawn = true;
      display([]);
    }),
  };
  pageViewed(pageAddress(), document.referrer);
  document.addEventListener("visibilitychange", safely(() => document.visibilityState === "visible" && beat()));
  addEventListener("pageshow", safely((event) => event.persisted && beat()));
  addEventListener("pagehide", safely(left));
  addEventListener("click", safely(tapped), true);
  awaitGa(10);
  followHistory();
}

attempt(start);
