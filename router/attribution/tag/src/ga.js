// Google Analytics: client and session of this browser, asked of gtag, else read from its cookies, which may appear late.

const gtagAnswers = {};

// {client_id, session_id} as far as known; undefined when nothing is.
const readGa = () => {
  const id = option("measurement");
  const [, stream, value] = cookie("_ga_(" + (id ? (id + "").replace("G-", "") : "\\w+") + ")");
  askGtag(id || (stream && "G-" + stream));
  const found = {
    client_id: /^GA\d.*?\.(\d+\.\d+)$/.exec(cookie("_ga")[1])?.[1],
    session_id: /^GS(?:1\.\d+\.|2\..*?(?:\b|24)s)(\d+)/.exec(value)?.[1],
    ...gtagAnswers,
  };
  if (consent === "full" && (found.client_id || found.session_id)) return found;
};

const askGtag = (id) => {
  if (id && !gtagAsked)
    ["client_id", "session_id"].map((field) =>
      attempt(() => {
        window.gtag("get", id, field, (value) => {
          gtagAsked = false;
          if (/^[\d.]{1,64}$/.test(value)) gtagAnswers[field] = value + "";
        });
        gtagAsked = true;
      }),
    );
};
