// The wizard: keeps what is typed, renews the previews, changes rows in place, and tries selectors on a pasted piece of a page.
// Without it every button sends the form, and nothing is missing but the trial.
const form = document.querySelector("[data-wizard]");
const parse = (html) => new DOMParser().parseFromString(html, "text/html");
let waiting,
  sending = Promise.resolve(),
  busy = 0;

// Sends the form as if `button` were pressed; the page that answers, as a document that runs nothing.
function send(verb, leaving) {
  const data = new URLSearchParams(new FormData(form)); // short: a flow has many fields
  data.set("do", verb);
  busy += 1;
  return fetch(form.action, { method: "POST", body: data, keepalive: Boolean(leaving) })
    .then(async (answer) => ({ page: parse(await answer.text()), ok: answer.ok }))
    .finally(() => {
      busy -= 1;
    });
}

function renew(page, selector) {
  document.querySelectorAll(selector).forEach((old) => {
    const fresh = page.getElementById(old.id);
    if (fresh && !(selector === "[data-renew]" && old.contains(document.activeElement)))
      old.replaceWith(document.adoptNode(fresh));
  });
}

function keep() {
  clearTimeout(waiting);
  waiting = undefined;
  sending = sending
    .then(() => send("keep"))
    .then(
      ({ page, ok }) => {
        if (ok && !waiting) {
          renew(page, "[data-renew]");
          trial();
        } else if (!ok)
          document.getElementById("kept").textContent =
            "Not kept: the server did not take it. It stays here while this page is open.";
      },
      () => {
        document.getElementById("kept").textContent =
          "Not kept: the server was not reached. It stays here while this page is open.";
      },
    );
  return sending;
}

function later() {
  clearTimeout(waiting);
  waiting = setTimeout(keep, 500);
}

// A button that changes one part of the page: only that part is put in.
async function swap(button) {
  await sending;
  const target = button.dataset.swap;
  document.querySelector(target).inert = true; // nothing can be typed that the answer would take away
  const { page, ok } = await send(button.value).catch(() => ({}));
  document.querySelector(target).inert = false;
  if (!ok || !page.querySelector(target)) {
    button.removeAttribute("data-swap");
    button.click();
    return;
  }
  renew(page, target);
  renew(page, "[data-renew]");
  if (button.dataset.focus) {
    arrive(button);
    return;
  }
  const [verb] = button.value.split(".");
  const fields = [...document.querySelectorAll(`${target} input:not([type=hidden])`)];
  const firsts = fields.filter((field) => field.name.split(".").pop() === fields[0].name.split(".").pop());
  const next = verb === "add" ? firsts.pop() : fields[0];
  (next || document.querySelector(`[name=do][value^="${verb}"]`))?.focus();
}

// Puts the focus where a button of the flow has changed its list: a new or moved row, or what came in the place of one that left.
function arrive(button) {
  const list = button.dataset.focus,
    [verb] = button.value.split("."),
    last = button.value.slice(button.value.lastIndexOf(".") + 1);
  const rows = [];
  while (document.getElementById(`${list}.${rows.length}`))
    rows.push(document.getElementById(`${list}.${rows.length}`));
  if (verb === "up" || verb === "down") {
    const at = Number(last) + (verb === "up" ? -1 : 1);
    for (const again of [verb, verb === "up" ? "down" : "up"]) {
      const same = document.querySelector(`[name=do][value="${again}.${list}.${at}"]`);
      if (same) {
        same.focus();
        return;
      }
    }
  }
  const ofKind = rows.filter((row) => row.querySelector(":scope > [name$='.type']")?.value === last);
  const row = verb === "add" ? ofKind.pop() || rows.pop() : rows[Math.min(Number(last), rows.length - 1)];
  (
    row?.querySelector("input:not([type=hidden]), textarea, select") ||
    row?.querySelector("summary, button") ||
    document.getElementById("flow")
  ).focus();
}

// Tries the selectors on the pasted piece. It is parsed into a document of its own, in which nothing runs or loads.
const digits = (text) => text.replace(/\D/g, "");
const WRITTEN = /\(?\+?\(?\d[\d\s().\-\u2010-\u2015]{4,22}\d/;

function written(shown, original) {
  const own = digits(shown.dataset.e164),
    asked = digits(original);
  if (!shown.dataset.keepForm || own.length < asked.length) return shown.dataset.shown;
  const fill = [...own.slice(own.length - asked.length)];
  return original.replace(/\d/g, () => fill.shift());
}

function reading(text, shown) {
  const found = WRITTEN.exec(text);
  return found ? text.replace(found[0], written(shown, found[0])) : shown.dataset.shown;
}

function line(name, findings) {
  const item = document.createElement("li"),
    code = document.createElement("code");
  code.textContent = name;
  item.append(code);
  findings.forEach(([before, after]) => {
    const row = document.createElement("div");
    row.textContent = after ? `${before || "(empty)"} → ${after}` : before;
    row.className = after ? "matches" : "attention";
    item.append(row);
  });
  return item;
}

const short = (text) => text.trim().replace(/\s+/g, " ").slice(0, 60);

function matches(page, selector, shown) {
  try {
    const found = [...page.querySelectorAll(selector)];
    return found.length
      ? found.slice(0, 8).map((one) => [short(one.textContent), short(reading(one.textContent, shown))])
      : [["matches nothing"]];
  } catch {
    return [["is no CSS selector"]];
  }
}

function inText(page, number, shown) {
  const wanted = digits(number),
    found = [];
  const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node && found.length < 8; node = walker.nextNode()) {
    const run = WRITTEN.exec(node.data);
    if (run && wanted && digits(run[0]).endsWith(wanted))
      found.push([short(node.data), short(reading(node.data, shown))]);
  }
  return found.length ? found : [["is not found"]];
}

function trial() {
  const sample = document.getElementById("tagging.sample"),
    out = document.getElementById("trial"),
    shown = document.querySelector("[data-shown]");
  if (!sample || !out || !shown || !sample.value.trim()) return;
  const page = parse(sample.value.replace(/\son\w+\s*=/gi, " data-was=")); // handlers would only be refused, loudly
  const lines = (id) =>
    document
      .getElementById(id)
      .value.split("\n")
      .map((one) => one.trim())
      .filter(Boolean);
  const list = document.createElement("ul");
  list.className = "plain trial";
  lines("tagging.selectors").forEach((selector) => {
    list.append(line(selector, matches(page, selector, shown)));
  });
  lines("tagging.replace").forEach((number) => {
    list.append(line(number, inText(page, number, shown)));
  });
  if (!list.children.length) list.append(line("No element and no number is named yet", []));
  out.replaceChildren(list);
}

function changed(field) {
  if (field.type === "checkbox" || field.type === "radio") return field.checked !== field.defaultChecked;
  return "defaultValue" in field && field.type !== "hidden" && field.value !== field.defaultValue;
}

function begin() {
  document.querySelectorAll("[data-trial]").forEach((part) => {
    part.hidden = false;
  });
  const sample = document.getElementById("tagging.sample");
  try {
    if (sample && !sample.value) sample.defaultValue = sessionStorage.getItem("sample") || "";
    sample?.addEventListener("input", () => sessionStorage.setItem("sample", sample.value));
  } catch {
    /* it stays in the draft */
  }
  trial();
  form.addEventListener("input", () => {
    later();
    trial();
  });
  if ([...form.elements].some(changed)) later(); // typed before this script ran
  form.addEventListener("keydown", (event) => {
    const verb = event.target.dataset.enter;
    if (event.key !== "Enter" || !verb) return;
    event.preventDefault();
    form.querySelector(`[name=do][value="${verb}"]`).click();
  });
  form.addEventListener("click", (event) => {
    const button = event.target.closest("[data-swap]");
    if (!button) return;
    event.preventDefault();
    clearTimeout(waiting);
    swap(button);
  });
  form.addEventListener("submit", (event) => {
    clearTimeout(waiting);
    waiting = undefined;
    if (form.dataset.leaving) {
      event.preventDefault();
      return;
    }
    if (busy) {
      // what is being kept must not arrive after this
      event.preventDefault();
      sending.finally(() => form.requestSubmit(event.submitter));
      return;
    }
    form.dataset.leaving = "1";
    setTimeout(() => {
      delete form.dataset.leaving;
    }, 3000);
  });
  addEventListener("pagehide", () => {
    if (waiting) {
      clearTimeout(waiting);
      send("keep", true);
    }
  });
  (form.querySelector("[aria-invalid=true]") || document.getElementById("summary"))?.focus();
}

if (form) begin();
