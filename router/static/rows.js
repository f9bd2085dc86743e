// Rows that answer at once. A switch moves when it is pressed, and back with a sentence when the server refuses;
// ticked rows are counted. Without this, switches post their form and the buttons below a list are always there.
const LOST = "The server did not answer: nothing is changed. Try again.";
const OLD = "This page was open for too long. Load it again, then repeat.";

function say(button, text, refused, way) {
  const row = button.closest("tr");
  const place = row.querySelector(".name") || row.cells[0];
  const said = place.querySelector(".said") || place.appendChild(document.createElement("div"));
  said.className = refused ? "said said-bad" : "said";
  said.setAttribute("role", refused ? "alert" : "status");
  said.textContent = text + " ";
  if (!way) return;
  const link = document.createElement("a");
  Object.assign(link, { href: way[0], textContent: way[1], className: "inner" });
  said.append(link);
}

function wayOut(told, balance) {
  if (told.missing_minor) return [balance, "Open the balance"];
  return told.review && [told.review, "See what it costs and connect"];
}

function turn(button, on) {
  button.setAttribute("aria-checked", String(on));
  button.value = on ? "" : "1";
}

async function ask(button) {
  const body = new URLSearchParams(new FormData(button.form));
  body.set(button.name, button.value);
  const answer = await fetch(button.formAction, { method: "POST", body, headers: { Accept: "application/json" } });
  if (!/json/.test(answer.headers.get("Content-Type"))) throw new Error(OLD);
  return [answer.ok, await answer.json()];
}

async function freshen(selector) {
  const answer = await fetch(location.href);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(selector);
  if (fresh) document.querySelector(selector)?.replaceWith(fresh);
}

async function act(button) {
  if (button.getAttribute("aria-busy")) return;
  const on = button.value === "1";
  button.setAttribute("aria-busy", "true");
  const asked = ask(button);
  turn(button, on);
  try {
    const [done, told] = await asked;
    if (!done) turn(button, !on);
    say(button, done ? told.said : told.detail, !done, wayOut(told, button.form.dataset.balance));
    if (done && button.form.dataset.fresh) freshen(button.form.dataset.fresh);
  } catch (error) {
    turn(button, !on);
    say(button, error.message === OLD ? OLD : LOST, true);
  }
  button.removeAttribute("aria-busy");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (!button) return;
  event.preventDefault();
  act(button);
});

const bar = document.querySelector("[data-chosen]");
if (bar) {
  const ticks = [...document.querySelectorAll("[data-tick]")];
  const every = document.querySelector("[data-tick-all]");
  const count = () => {
    const chosen = ticks.filter((tick) => tick.checked).length;
    bar.classList.toggle("idle", !chosen);
    bar.querySelector("[data-count]").textContent = chosen === 1 ? "1 number chosen" : `${chosen} numbers chosen`;
    bar.querySelectorAll("button").forEach((button) => {
      button.disabled = !chosen;
    });
    every.checked = chosen === ticks.length;
    every.indeterminate = chosen > 0 && chosen < ticks.length;
  };
  every.closest("label").hidden = false;
  every.addEventListener("change", () => {
    ticks.forEach((tick) => {
      tick.checked = every.checked;
    });
    count();
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-tick]")) count();
  });
  count();
}
