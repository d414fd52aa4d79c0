"""Which proxy of the environment a call goes through."""

import ipaddress
import os
from urllib.parse import urlsplit

__all__ = ["is_loopback", "proxy_of"]


def is_loopback(url: str) -> bool:
    """Tell whether an address is of this machine, which no proxy elsewhere can reach.

    >>> is_loopback("http://localhost:8000/v1"), is_loopback("http://[::1]:8000/v1"), is_loopback("http://10.0.0.1/v1")
    (True, True, False)
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def proxy_of(url: str) -> str:
    """Return the name of the environment variable whose proxy calls go through; empty where there is none."""
    from urllib.request import proxy_bypass  # noqa: PLC0415 - takes 0.03 s, and few have a proxy

    scheme = urlsplit(url).scheme
    names = [name for each in (f"{scheme}_proxy", "all_proxy") for name in (each, each.upper())]
    named = next((name for name in names if os.environ.get(name)), "")
    return "" if not named or proxy_bypass(urlsplit(url).netloc) else named
