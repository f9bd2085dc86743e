// Google Analytics: client and session of this browser, asked of gtag, else read from its cookies, which may appear late.

const gtagAnswers = {};
const gtagAsked = {};

// {client_id, session_id} as far as known; undefined when nothing is.
function readGa() {
  const jar = cookies();
  const client = /^GA\d\.[\d-]+\.(?:.*\.)?(\d+\.\d+)$/.exec(jar.get("_ga") || "");
  const id = option("measurement");
  const stream = id ? "_ga_" + id.replace(/^G-/, "") : [...jar.keys()].find((name) => /^_ga_\w+$/.test(name));
  const session = /^GS1\.\d+\.(\d+)|^GS2\.\d+\.(?:.*\$)?s(\d+)/.exec(jar.get(stream) || "");
  askGtag(id || (stream && "G-" + stream.slice(4)) || loadedStream());
  const found = {
    client_id: gtagAnswers.client_id || (client?.[1]),
    session_id: gtagAnswers.session_id || session?.[1] || session?.[2],
  };
  return (found.client_id || found.session_id) && found;
}

function loadedStream() {
  const script = document.querySelector('script[src*="/gtag/js?id=G-"]');
  return script && queryValue(script.src, "id");
}

function askGtag(id) {
  if (!id || typeof window.gtag !== "function") return;
  ["client_id", "session_id"].filter((field) => !gtagAsked[field]).forEach((field) => attempt(() => {
    gtagAsked[field] = true;
    window.gtag("get", id, field, (value) => {
      gtagAsked[field] = false;
      if (/^[\d.]{1,64}$/.test(value)) gtagAnswers[field] = String(value);
    });
  }));
}
