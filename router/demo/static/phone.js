// The demo's telephone: dials, shows the call as it happens, and plays the company's side.
(() => {
  const find = (name) => document.querySelector("[data-" + name + "]");
  const to = document.getElementById("to");
  const from = document.getElementById("from");
  const progress = find("progress");
  const STATES = {
    queued: "waiting",
    initiated: "being called",
    ringing: "rings",
    "in-progress": "answered",
    completed: "hung up",
    busy: "was busy",
    "no-answer": "did not answer",
    failed: "cannot be reached",
    canceled: "stopped ringing",
  };
  const BUTTONS = [
    ["answer", "Answer"],
    ["busy", "Busy"],
    ["no_answer", "No answer"],
  ];
  const AREAS = ["212", "312", "408", "510", "628", "650", "707", "831", "925"];
  let current = null;
  let isUnderWay = false;
  let shown = "";

  function make(name, className, ...content) {
    const element = document.createElement(name);
    if (className) element.className = className;
    element.append(...content);
    return element;
  }

  function button(label, className, action) {
    const element = make("button", className, label);
    element.type = "button";
    element.addEventListener("click", action);
    return element;
  }

  async function ask(path, body) {
    const options = body && {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    };
    const answer = await fetch("/demo/phone/calls" + path, options || {});
    const document_ = await answer.json();
    if (!answer.ok) throw new Error(document_.detail || "That did not work.");
    return document_;
  }

  function trouble(words) {
    const element = find("trouble");
    element.hidden = !words;
    element.textContent = words || "";
  }

  const press = (what, leg, digits) =>
    ask("/" + current + "/press", { what: what, leg: leg || "", digits: digits || "" }).then(
      () => follow(),
      (error) => trouble(error.message),
    );

  const seconds = (count) => (count >= 60 ? Math.floor(count / 60) + " min " : "") + (count % 60) + " s";

  function headline(call) {
    const leg = call.legs.find((one) => one.bridged);
    if (call.ended)
      return call.talk_seconds === null
        ? call.caller_hung_up
          ? "The caller hung up before anybody answered"
          : "Nobody was reached"
        : "Talked for " + seconds(call.talk_seconds);
    if (leg) return "Talking with " + (leg.name ? "the " + leg.name.toLowerCase() : leg.display);
    if (call.legs.some((one) => one.status === "ringing")) return "Ringing";
    return call.heard.length ? "Listening: the keypad answers" : "Connecting";
  }

  function legItem(leg) {
    const talking = leg.bridged && leg.status === "in-progress";
    const item = make("li", "leg leg-" + leg.status);
    item.append(
      make("span", "name", leg.name),
      make("span", "number", leg.display),
      make("span", "state", talking ? "talking " : STATES[leg.status] || leg.status),
    );
    if (talking) item.lastChild.append(make("span", "talked"));
    if (leg.error) item.append(make("span", "trouble", leg.error));
    const buttons = make("span", "buttons");
    if (leg.status === "ringing")
      BUTTONS.forEach(([what, label]) => {
        buttons.append(button(label, what, () => press(what, leg.sid)));
      });
    if (talking) buttons.append(button("Hang up", "hang-up", () => press("hang_up", leg.sid)));
    if (buttons.childElementCount) item.append(buttons);
    return item;
  }

  function logItem(line) {
    const what = line.method + " " + line.path + (line.state ? " (" + line.state + ")" : "");
    const status = line.error || String(line.status || "…");
    if (!line.body) return make("li", "", make("code", "", what), " ", make("b", line.error ? "bad" : "", status));
    const details = make(
      "details",
      "",
      make("summary", "", make("code", "", what), " ", make("b", line.error ? "bad" : "", status)),
      make("pre", "", line.body),
    );
    return make("li", "", details);
  }

  // Seconds alone change a word in place: nothing that somebody is about to press is made anew.
  function render(call) {
    isUnderWay = !call.ended;
    find("hang-up").hidden = call.ended;
    find("call").hidden = !call.ended;
    const text = JSON.stringify(Object.assign({}, call, call.ended ? {} : { seconds: 0, talk_seconds: 0 }));
    if (text !== shown) renderAnew(call);
    shown = text;
    progress.querySelectorAll(".talked").forEach((one) => {
      one.textContent = seconds(call.talk_seconds || 0);
    });
  }

  function renderAnew(call) {
    const open = [...progress.querySelectorAll("details")].map((one) => one.open);
    const focus = [...progress.querySelectorAll("button")].indexOf(document.activeElement);
    const title = make("h2", "", headline(call));
    title.setAttribute("aria-live", "polite");
    const parts = [
      make("p", "who", make("span", "number", call.caller_display), " calls ", make("span", "number", call.to_display)),
      title,
      make("ul", "legs", ...call.legs.map((leg) => legItem(leg))),
    ];
    call.heard.forEach((words) => {
      parts.push(make("p", "heard", "The caller hears: “" + words + "”"));
    });
    call.errors.forEach((words) => {
      parts.push(make("p", "trouble", words));
    });
    if (call.receipt) {
      const receipt = make("a", "receipt", "Open the receipt of this call");
      receipt.href = "/calls/" + call.receipt;
      parts.push(receipt);
    }
    const count = call.log.length;
    parts.push(
      make(
        "details",
        "log",
        make("summary", "", "What the carrier asked: " + count + (count === 1 ? " request" : " requests")),
        make("ol", "", ...call.log.map(logItem)),
      ),
    );
    progress.replaceChildren(...parts);
    progress.querySelectorAll("details").forEach((one, index) => {
      one.open = Boolean(open[index]);
    });
    const again = progress.querySelectorAll("button")[focus];
    if (again) again.focus();
  }

  async function follow() {
    if (!current) return;
    try {
      render(await ask("/" + current));
    } catch (error) {
      trouble(error.message);
    }
  }

  function latestItem(call) {
    const item = make(
      "li",
      "",
      make("span", "number", call.caller_display),
      make("span", "", "to "),
      make("span", "number", call.to_display),
      make("span", "state", headline(call)),
    );
    if (call.receipt) {
      const link = make("a", "", "Receipt");
      link.href = "/calls/" + call.receipt;
      item.append(link);
    }
    return item;
  }

  async function list() {
    try {
      const items = (await ask("")).items;
      if (items.length) find("latest").replaceChildren(...items.map(latestItem));
      const running = items.find((call) => !call.ended);
      if (!current && running) current = running.sid;
    } catch (error) {
      trouble(error.message);
    }
  }

  find("dialler").addEventListener("submit", async (event) => {
    event.preventDefault();
    trouble("");
    try {
      const call = await ask("", { to: to.value, from: from.value });
      current = call.sid;
      isUnderWay = true;
      await follow();
      progress.scrollIntoView({ block: "nearest" });
      list();
    } catch (error) {
      trouble(error.message);
    }
  });
  document.querySelectorAll("[data-key]").forEach((key) => {
    key.addEventListener("click", () => {
      // during a call the keys are for whoever asks the caller to press one
      if (isUnderWay) press("press", "", key.dataset.key);
      else to.value += key.dataset.key;
    });
  });
  document.querySelectorAll("[data-choose]").forEach((one) => {
    one.addEventListener("click", () => {
      to.value = one.dataset.choose;
    });
  });
  find("erase").addEventListener("click", () => {
    to.value = to.value.slice(0, -1);
  });
  find("withhold").addEventListener("click", () => {
    from.value = "";
  });
  find("somebody").addEventListener("click", () => {
    const area = AREAS[Math.floor(Math.random() * AREAS.length)];
    from.value = "(" + area + ") 555-01" + String(Math.floor(Math.random() * 100)).padStart(2, "0");
  });
  find("hang-up").addEventListener("click", () => press("hang_up"));

  setInterval(follow, 500);
  setInterval(list, 3000);
  list();
})();
