// Long work that is shown while it goes on: its part of the page is asked for again until it is over.
const EVERY = 1500;

async function look() {
  const live = document.querySelector("[data-live]");
  if (live.dataset.live === "over") return;
  try {
    const answer = await fetch(location.href);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = fresh.querySelector("[data-live]");
    if (answer.ok && next) {
      live.replaceWith(next);
      document.title = fresh.title;
    }
  } catch {
    /* the server is away: the next look may find it */
  }
  setTimeout(look, EVERY);
}

setTimeout(look, EVERY);
