// Google Analytics: client and sessions of this browser, asked of gtag, else read from its cookies, which may appear late.

const gtagAnswers = {};

// {client_id, "G-…": the session of this stream} as far as known: of the stream that the page or the project names, else of all that have a
// cookie. The server reads the client's cookie, and drops what is none.
const readGa = () => {
  const found = { client_id: cookie("_ga")[1] };
  const asked = gtagAsked;
  for (const name of [
    option("measurement") || settings.ga || attempt(() => document.cookie.match(/_ga_\w+/g)) || [],
  ].flat()) {
    const stream = (name + "").replace(/G-|_ga_/, "");
    const id = "G-" + stream;
    found[id] = /^GS(?:1\.\d+\.|2.*?[.$4]s)(\d+)/.exec(cookie("_ga_" + stream)[1])?.[1];
    for (const field of ["client_id", "session_id"])
      asked ||
        attempt(() => {
          window.gtag("get", id, field, (value) => {
            gtagAsked = false;
            if (value) gtagAnswers[field > "d" ? id : field] = value + "";
          });
          gtagAsked = true;
        });
  }
  return consent === "full" ? { ...found, ...gtagAnswers } : {};
};
