// First-party cookies on the registrable domain, which may hold the sites of several projects; and the site's storage. Both may be forbidden.

const VISITOR = "router_visitor_" + settings.key;
const OFF = "router_off";

// The match of a cookie whose name has this pattern: its groups, then its value.
const cookie = (name) => RegExp("; " + name + "=([^;]*)").exec("; " + attempt(() => document.cookie)) || [];

// On the shortest parent of this host that takes it: browsers refuse public suffixes. First it goes away from all of them.
const keepCookie = (name, value) => {
  for (const seconds of [0, value ? 34560000 : 0])
    location.hostname.split(".").some((label, index, labels) =>
      attempt(() => {
        document.cookie =
          name +
          "=" +
          value +
          "; path=/; max-age=" +
          seconds +
          "; SameSite=Lax; domain=" +
          labels.slice(-1 - index).join(".") +
          (isSecureContext ? "; Secure" : "");
        return seconds && cookie(name)[1];
      }),
    );
};

// The visitor's id, issued by the server to this project, and the visit for its next page; undefined: they go away.
const remember = (known) => {
  if (!known || !settings.own) keepCookie(VISITOR, known?.visitor); // the cookie that the site's own server sets lives longer
  attempt(() => {
    if (known) localStorage[VISITOR] = JSON.stringify([confirmedAt, known]);
    else delete localStorage[VISITOR];
  });
};

const remembered = () => (consent === "full" && attempt(() => JSON.parse(localStorage[VISITOR]))) || [];
