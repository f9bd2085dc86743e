// The demo's inbox: what the example company's systems received, newest first.
(() => {
  const list = document.querySelector("[data-messages]");
  const says = document.querySelector("[data-answer]");
  const empty = list.firstElementChild;
  let wanted = "";
  let items = [];
  let shown = "";

  function make(name, className, ...content) {
    const element = document.createElement(name);
    if (className) element.className = className;
    element.append(...content);
    return element;
  }

  function lines(pairs) {
    return Object.entries(pairs)
      .map(([name, value]) => name + ": " + value)
      .join("\n");
  }

  function message(item) {
    const at = new Date(item.at);
    const time = make("time", "", at.toLocaleTimeString());
    time.dateTime = item.at;
    const head = make(
      "summary",
      "",
      make("span", "pill pill-" + item.kind, item.title),
      make("span", "summary", item.summary),
      time,
    );
    const inside = make("div", "", make("p", "path", "POST " + item.path));
    const above = [lines(item.query), lines(item.headers)].filter(Boolean).join("\n");
    if (above) inside.append(make("pre", "quiet", above));
    inside.append(make("pre", "", item.body));
    if (item.answer) inside.append(make("p", "path", "Answered " + item.answer));
    const details = make("details", "", head, inside);
    details.dataset.number = item.number;
    return make("li", "", details);
  }

  function render() {
    const visible = items.filter((item) => !wanted || item.kind === wanted);
    const key = wanted + visible.map((item) => item.number).join();
    if (key === shown) return;
    shown = key;
    const open = new Set([...list.querySelectorAll("details[open]")].map((one) => one.dataset.number));
    list.replaceChildren(...(visible.length ? visible.map(message) : [empty]));
    list.querySelectorAll("details").forEach((one) => {
      one.open = open.has(one.dataset.number);
    });
  }

  async function look() {
    try {
      const answer = await fetch("/demo/inbox/items");
      const document_ = await answer.json();
      if (!answer.ok) throw new Error(document_.detail);
      items = document_.items;
      render();
    } catch (error) {
      says.textContent = error.message;
    }
  }

  document.querySelectorAll("[data-filter]").forEach((button) => {
    button.addEventListener("click", () => {
      wanted = button.dataset.filter;
      document.querySelectorAll("[data-filter]").forEach((one) => {
        one.setAttribute("aria-pressed", String(one === button));
      });
      render();
    });
  });
  setInterval(look, 1500);
  look();
})();
