"""Which web site a host belongs to: its registrable domain by the Public Suffix List, as browsers have it."""

from functools import cache, lru_cache
from ipaddress import ip_address

from publicsuffixlist import PublicSuffixList


@lru_cache(maxsize=4096)
def registrable_domain(host: str) -> str | None:
    """`example.co.uk` for `www.example.co.uk`; None where nobody registers: an address, `localhost`, a public suffix."""
    return None if _is_address(host) else _list().privatesuffix(host)


def is_same_site(host: str, other: str) -> bool:
    """Whether a cookie of one host's registrable domain is the other's as well; hosts without one are only the same as themselves."""
    domain = registrable_domain(host)
    return host == other or (domain is not None and domain == registrable_domain(other))


@cache
def _list() -> PublicSuffixList:
    return PublicSuffixList()


def _is_address(host: str) -> bool:
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
