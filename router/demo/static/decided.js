// The thin bar of the example shop: says what the server decided about this visit, and lets one come as somebody else.
(() => {
  const says = document.querySelector("[data-decided]");
  const telephone = document.querySelector("[data-telephone]");
  const pauses = [300, 500, 800, 1200, 2000, 4000];

  const text = (words, strong) => {
    const node = document.createElement(strong ? "b" : "span");
    node.textContent = words;
    return node;
  };

  const named = (source) =>
    [source.source, source.medium, source.campaign].filter((part) => part && part !== "none").join(" / ");

  function show(decision) {
    const parts = [
      text("Visit "),
      text(String(decision.visit), true),
      text(" from "),
      text(named(decision.source), true),
    ];
    decision.numbers.slice(-1).forEach((number) => {
      parts.push(text(number.shared ? " shares " : " was lent "), text(number.display, true));
      telephone.href = "/demo/phone?to=" + encodeURIComponent(number.e164);
      telephone.textContent = "Call it on the telephone";
    });
    if (!decision.numbers.length) parts.push(text(" was lent no number"));
    parts.push(text("."));
    says.replaceChildren(...parts);
  }

  async function look(tries) {
    try {
      const answer = await fetch("/demo/decided", { headers: { Accept: "application/json" } });
      const decision = await answer.json();
      if (decision.visit) show(decision);
      else if (tries >= pauses.length) says.textContent = "No visit yet: the tag did not reach the server.";
    } catch {
      says.textContent = "The server does not answer.";
    }
    setTimeout(() => look(tries + 1), pauses[tries] || 10000);
  }

  const forget = (name, path) =>
    ["", "; domain=" + location.hostname].forEach((domain) => {
      document.cookie = name + "=; max-age=0; path=" + path + domain;
    });

  document.querySelectorAll("[data-new-visitor]").forEach((link) => {
    link.addEventListener("click", () => {
      const ours = (names) => names.filter((name) => name.startsWith("router_visitor_"));
      ours(document.cookie.split("; ").map((cookie) => cookie.split("=")[0])).forEach((name) => {
        forget(name, "/");
      });
      forget("_ga", "/demo");
      forget("_ga_DEMO000001", "/demo");
      try {
        ours(Object.keys(localStorage)).forEach((name) => {
          localStorage.removeItem(name);
        });
      } catch {
        /* storage may be forbidden */
      }
    });
  });

  setTimeout(() => look(0), 150);
})();
