"""What goes to a server beside the question: its address, more headers and query, and the keys in them, which nobody sees.

A value that begins with `$` names the environment variable that holds it. What carries a key must be such a value, since the
task is kept in the run's ledger.
"""

import os
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, quote_plus, urlsplit

import msgspec

from catena.errors import LinkError, TaskError

__all__ = ["AddressOptions", "Secrets", "check_address"]

SHORTEST_KEY = 8  # shorter ones are stand-ins such as `none`, which are words too
CARRIES_A_KEY = re.compile(r"key|token|secret|auth|cookie|passw|signature|^sig$|^code$", re.IGNORECASE)
NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
VARIABLE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
PAGES = ("/chat/completions", "/completions", "/messages", "/responses")
OWN = frozenset({"content-type", "content-length", "host", "transfer-encoding", "connection"})


class AddressOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of links that call a server about how it is reached. None of them shapes votes.

    Args:
        base_url: Where the server is, up to and with `/v1`; the provider's own unless said.
        api_key_env: The environment variable that holds the key.
        key_header: The header that carries the key, bare; the protocol's own unless said.
        headers: More headers; `$NAME` is the value of an environment variable.
        query: More of the address, such as `api-version`; likewise.
    """

    base_url: str | None = None
    api_key_env: str | None = None
    key_header: str | None = None
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    query: dict[str, str] = msgspec.field(default_factory=dict)

    def carrier(self, usual: Callable[[str], dict[str, str]]) -> Callable[[str], dict[str, str]]:
        """Return what gives the headers that carry a key: the protocol's usual ones, but for `key_header`."""
        name = self.key_header
        if name is None:
            return usual
        without = usual("")
        return lambda key: {**without, name.lower(): key} if key else without


def check_address(options: AddressOptions, example: str, where: str) -> None:
    """Refuse an address that is none, or that holds a key; no message shows what may be one.

    Args:
        options: The link's.
        example: An address, for messages.
        where: Begins every message.

    Raises:
        TaskError: The line names the option.
    """
    if options.base_url is not None:
        _check_url(options.base_url, example, where)
    for name in [options.key_header or "key", *options.headers]:
        if not NAME.fullmatch(name) or name.lower() in OWN:
            raise TaskError(f"{where}: headers: '{name}' is no header that can be set.", "Leave it out.")
    for option, given in (("headers", options.headers), ("query", options.query)):
        _check_values(option, given, where)


def _check_url(url: str, example: str, where: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise TaskError(f"{where}: base_url: it is no address.", f"For example {example}") from None
    if "@" in url:  # wherever: a password with a slash in it would seem to be a path
        raise TaskError(
            f"{where}: base_url: it holds a name or a password, and a task is kept with its run.",
            "Put it into an environment variable and write headers: {Authorization: $NAME}.",
        )
    if parts.query or parts.fragment:
        raise TaskError(
            f"{where}: base_url: what follows the ? or # does not go there.",
            "Write it as query: {NAME: VALUE}, a key as query: {NAME: $VARIABLE}.",
        )
    if page := next((each for each in PAGES if parts.path.rstrip("/").endswith(each)), None):
        raise TaskError(
            f"{where}: base_url: it ends with {page}, which is put behind it.",
            f"Leave that out, as in {example}",
        )
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise TaskError(f"{where}: base_url: '{url}' is not an http address.", f"For example {example}")


def _check_values(option: str, given: Mapping[str, str], where: str) -> None:
    for name, text in given.items():
        bare = text.lower().startswith(("bearer ", "basic ")) or CARRIES_A_KEY.search(name)
        if bare and not VARIABLE.fullmatch(text):
            raise TaskError(
                f"{where}: {option}: {name} carries a key, and a task is kept with its run.",
                f"Put it into an environment variable and write {name}: $NAME.",
            )
        if text.startswith("$") and not VARIABLE.fullmatch(text):
            raise TaskError(f"{where}: {option}: {name}: $ is followed by no name of a variable.")
        if not (text.isascii() and text.isprintable()):
            raise TaskError(f"{where}: {option}: {name} has characters that can't be sent.", "Write ASCII.")


class Secrets:
    """The keys of one link: read from the environment, and taken out of whatever a server says."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._spellings = frozenset[bytes]()

    def key(self, variable: str) -> str:
        """Return the key in an environment variable; from then on it is hidden.

        Raises:
            LinkError: There is none, or none that can be sent.
        """
        key = os.environ.get(variable, "").strip()
        if not key:
            raise LinkError(
                f"{self._where}: there is no key in {variable}.", f"Set it: export {variable}=..."
            )
        if not (key.isascii() and key.isprintable()):
            raise LinkError(
                f"{self._where}: the key in {variable} has characters that no key has.", "Set it anew."
            )
        self.add(key)
        return key

    def value(self, text: str) -> str:
        """Return a value of the task as it is sent: `$NAME` is the key in that variable."""
        variable = VARIABLE.fullmatch(text)
        return self.key(variable[1]) if variable else text

    def add(self, key: str) -> None:
        """Hide a key from now on, in every spelling that a server may give it, and without what stands before it."""
        for secret in {key, key.rpartition(" ")[2]}:
            if len(secret) >= SHORTEST_KEY:
                self._spellings |= {
                    secret.encode(),
                    msgspec.json.encode(secret)[1:-1],
                    secret.replace("/", "\\/").encode(),
                    quote(secret, safe="").encode(),
                    quote_plus(secret).encode(),
                }

    def hide(self, said: bytes) -> bytes:
        """Take the keys out of what a server said, before any of it is cut: some show what they were sent."""
        for spelling in self._spellings:
            said = said.replace(spelling, b"***")
        return said
