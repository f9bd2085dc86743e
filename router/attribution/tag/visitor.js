// The visitor's id, issued by the server to this project: a first-party cookie on the registrable domain, which may hold the sites of
// several projects, mirrored in localStorage. Both may be forbidden.

const VISITOR = "router_visitor_" + settings.key;
const VISITOR_SECONDS = 400 * 24 * 3600;

function attempt(action) {
  try {
    return action();
  } catch (refused) {
    return undefined;
  }
}

function cookies() {
  const pairs = (attempt(() => document.cookie) || "").split("; ").map((pair) => {
    const at = pair.indexOf("=");
    return [pair.slice(0, at), attempt(() => decodeURIComponent(pair.slice(at + 1))) || pair.slice(at + 1)];
  });
  return new Map(pairs.reverse());
}

function writeCookie(name, value, seconds, domain) {
  document.cookie = name + "=" + value + "; path=/; max-age=" + seconds + "; SameSite=Lax" +
    (location.protocol === "https:" ? "; Secure" : "") + (domain ? "; domain=" + domain : "");
}

// The shortest parent of this host that takes cookies is the registrable domain: browsers refuse public suffixes.
function registrableDomain() {
  const labels = location.hostname.split(".");
  for (let count = 1; count <= labels.length; count++) {
    const domain = labels.slice(-count).join(".");
    writeCookie("router_probe", 1, 9, domain);
    if (cookies().has("router_probe")) {
      writeCookie("router_probe", 1, 0, domain);
      return domain;
    }
  }
}

function knownVisitor() {
  const visitor = cookies().get(VISITOR) || attempt(() => localStorage.getItem(VISITOR));
  return isName(visitor) ? visitor : undefined;
}

// Such as the server gives to visitors and visits.
function isName(value) {
  return typeof value === "string" && /^[\w-]{1,64}$/.test(value);
}

function keepVisitor(visitor) {
  attempt(() => writeCookie(VISITOR, visitor, VISITOR_SECONDS, registrableDomain()));
  attempt(() => localStorage.setItem(VISITOR, visitor));
}
