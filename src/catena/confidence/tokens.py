"""The generated tokens of an answer as an OpenAI-style server lists them, and how to read them as probabilities.

Servers differ in order and length of the lists, in whether the generated token is listed too, and in how they show a
token that is only a part of a character.
"""

from codecs import getincrementaldecoder
from collections.abc import Sequence
from math import exp
from typing import NamedTuple

__all__ = ["Listed", "Mass", "Token", "decode", "listed", "locate", "place"]

IMPOSSIBLE = -700.0  # servers write -9999.0 or -inf for banned tokens; below -745 exp() is 0 anyway
SAME = 1e-4  # how far the log-probabilities of one token in two places of an answer may differ

Mass = tuple[bytes, float]


class Listed(NamedTuple):
    """One alternative at a position: its text, its bytes where the server gives them, its natural log-probability."""

    text: str
    raw: bytes | None
    logprob: float


class Token(NamedTuple):
    """One generated token, one position of `logprobs.content`, with the alternatives listed there (in any order)."""

    text: str
    raw: bytes | None
    logprob: float
    top: Sequence[Listed] | None = ()


def _data(text: str, raw: bytes | None) -> bytes:
    """Return a token's bytes; none for a part of a character whose bytes aren't given."""
    return raw or (b"" if "\ufffd" in text else text.encode(errors="surrogatepass"))


def place(tokens: Sequence[Token], text: str) -> int | None:
    """Return where an answer begins in its tokens, in characters; None where they are those of another text.

    Some servers list the tokens of thoughts that they leave out of the answer, or of marks around it. Where a token is a part
    of a character without its bytes, the text can't be known, and is taken for the answer.
    """
    if any(token.text and not _data(token.text, token.raw) for token in tokens):
        return 0
    said = b"".join([_data(token.text, token.raw) for token in tokens]).decode(errors="replace")
    answer = text.strip()
    if said.lstrip().startswith(answer):
        return 0
    at = said.rfind(answer)
    return None if at < 0 else at - (len(text) - len(text.lstrip()))


def locate(tokens: Sequence[Token], start: int) -> tuple[int, bytes]:
    """Return the index of the token that holds the character at `start`, and what stands before it in that token."""
    need = 0
    if start > 0:
        text = b"".join([_data(token.text, token.raw) for token in tokens]).decode(errors="replace")
        need = len(text[:start].encode()) if start < len(text) else len(text) * 4
    for index, token in enumerate(tokens):
        data = _data(token.text, token.raw)
        if len(data) > need:
            return index, data[:need]
        need -= len(data)
    return len(tokens), b""


def listed(token: Token, head: bytes) -> tuple[Mass, list[Mass], float]:
    """Return the generated token, the alternatives and the unlisted mass at one position, all as probabilities."""
    own, own_logprob = _data(token.text, token.raw), token.logprob
    total = own_mass = exp(min(own_logprob, 0.0)) if own_logprob > IMPOSSIBLE else 0.0
    others: list[Mass] = []
    seen: set[tuple[bytes, float]] = set()
    for text, raw, logprob in token.top or ():
        data = raw or _data(text, raw)
        if not logprob > IMPOSSIBLE or (data == own and abs(logprob - own_logprob) < SAME):
            continue
        if data and (data, logprob) in seen:
            continue  # twice the same; two tokens of one text have no probability in common
        seen.add((data, logprob))
        mass = exp(logprob) if logprob < 0.0 else 1.0
        total += mass
        others.append((_after(head, data) if head else data, mass))
    own = own[len(head) :]
    if total > 1.0:
        return (own, own_mass / total), [(data, mass / total) for data, mass in others], 0.0
    return (own, own_mass), others, 1.0 - total


def _after(head: bytes, data: bytes) -> bytes:
    """Return what an alternative says of the label; white space, which says nothing, where it is a part of the head."""
    if data and head.startswith(data):
        return b" "
    return data.removeprefix(head)


def decode(data: bytes) -> tuple[str, bytes]:
    """Return the text and the bytes of a last character that isn't whole yet."""
    try:
        return data.decode(), b""
    except UnicodeDecodeError:
        decoder = getincrementaldecoder("utf-8")("replace")
        return decoder.decode(data), decoder.getstate()[0]
