"""What a web master puts into the site: one line of HTML and, under a content security policy, two sources."""

from urllib.parse import urlsplit

from markupsafe import Markup


def snippet(base_url: str, key: str) -> str:
    """The line of HTML that includes the tag."""
    return str(Markup('<script async src="{}/tag/{}.js"></script>').format(base_url, key))


def csp_lines(base_url: str) -> dict[str, str]:
    """The source that each directive of a content security policy needs; nothing inline, no eval."""
    parts = urlsplit(base_url)
    origin = f"{parts.scheme}://{parts.netloc}"
    return {"script-src": origin, "connect-src": origin}
