"""What a web master puts into the site: one line of HTML, two sources of a content security policy, and recipes for what sites are made
with."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from markupsafe import Markup

CONSENT = """<script>
function routerConsent(level) {
  var tag = window.routerTag = window.routerTag || {};
  typeof tag.consent === "function" ? tag.consent(level) : tag.consent = level;
}
</script>"""

WORDPRESS = """add_action('wp_enqueue_scripts', function () {
    wp_enqueue_script('router-tag', '%s', [], null, ['strategy' => 'async']);
});"""

NEXT = """import Script from "next/script";

export default function RootLayout({ children }: { children: React.ReactNode }) {
  return (
    <html lang="en">
      <body>
        {children}
        <Script src="%s" strategy="afterInteractive" />
      </body>
    </html>
  );
}"""

AMP = """<script async custom-element="amp-call-tracking" src="https://cdn.ampproject.org/v0/amp-call-tracking-0.1.js"></script>

<amp-call-tracking config="%s?page=SOURCE_URL&amp;referrer=DOCUMENT_REFERRER&amp;client=CLIENT_ID(router)">
  <a href="tel:+14155550100">(415) 555-0100</a>
</amp-call-tracking>"""

HOST = """server {
    listen 443 ssl;
    server_name %(host)s;
    ssl_certificate     /etc/ssl/%(host)s.pem;
    ssl_certificate_key /etc/ssl/%(host)s.key;

    location /tag/ {
        proxy_pass http://127.0.0.1:8000;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
}"""

PATH = """location %(path)s/tag/ {
    proxy_pass %(server)s/tag/;
    proxy_ssl_server_name on;
    proxy_set_header X-Forwarded-For $remote_addr;
}"""

SCRIPTING = """// Once the numbers are known:
routerTag.ready(function () {
  routerTag.visit;    // 10001, or null
  routerTag.numbers;  // [{scenario, e164, display}, ...]
});

// Own fields of this visit:
routerTag.params({order: "A-17"});

// Ask for the numbers anew, also after restore():
routerTag.refresh();

// What the visitor chose: "full", "limited" or "none"
routerTag.consent("full");

// The page's own numbers, for as long as it is open:
routerTag.restore();"""

BEFORE = """<script>
window.routerTag = {
  scenarios: [14, 13],
  params: {shop: "north"},
  consent: "none",
  measurement: "G-AB12CD34EF",
  ready: function () {}
};
</script>"""


def script_address(base_url: str, key: str) -> str:
    return f"{base_url}/tag/{key}.js"


def snippet(base_url: str, key: str) -> str:
    """The line of HTML that includes the tag."""
    return str(Markup('<script async src="{}"></script>').format(script_address(base_url, key)))


def recipes(base_url: str, key: str) -> Mapping[str, str]:
    """What is copied into WordPress, Next.js and AMP pages."""
    script = script_address(base_url, key)
    return {"wordpress": WORDPRESS % script, "next": NEXT % script, "amp": AMP % f"{base_url}/tag/{key}/amp"}


def proxies(base_url: str, domain: str) -> Mapping[str, str]:
    """nginx, for a host name of the site that leads here, and for a path of the site; `domain`: the site's."""
    return {"host": HOST % {"host": f"calls.{domain}"}, "path": PATH % {"path": "/calls", "server": base_url}}


def csp_lines(base_url: str) -> dict[str, str]:
    """The source that each directive of a content security policy needs; nothing inline, no eval."""
    parts = urlsplit(base_url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return {"script-src": origin, "connect-src": origin}
