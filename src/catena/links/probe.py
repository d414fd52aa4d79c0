"""What a few calls show of a server: log-probabilities, how labels tokenise, structured answers."""

from collections.abc import Mapping, Sequence

import msgspec

__all__ = ["Probe", "tokens_in"]


class Probe(msgspec.Struct, frozen=True):
    """What was found out of a link's server; None where it is not known.

    Args:
        logprobs: Whether answers have log-probabilities.
        listed: The most alternatives that stood at a token.
        refused: What the server said where it refused them.
        tokens: The tokens of each label, as far as they are known.
        tokens_from: `tokenizer`, the server's own, or `answer`, which said the labels.
        parts_at: The token, from 1, by which each label is told from all others.
        shared: Labels that share their first token.
        structured: Whether answers follow a JSON schema.
        model: Its fingerprint, as the server names it.
        calls: How many calls found this out.
        cost_usd: What they cost.
    """

    logprobs: bool | None = None
    listed: int | None = None
    refused: str = ""
    tokens: Mapping[str, Sequence[str]] = {}
    tokens_from: str = ""
    parts_at: Mapping[str, int] = {}
    shared: Sequence[Sequence[str]] = ()
    structured: bool | None = None
    model: str = ""
    calls: int = 0
    cost_usd: float = 0.0


def tokens_in(lines: Sequence[str], said: Sequence[str]) -> dict[str, list[str]]:
    r"""Return the tokens of each line, in a text that says them one after the other.

    Lines that the text does not say, from the first one on, have none.

    >>> tokens_in(["pro-war", "no"], ["pro", "-war", "\n", "no"])
    {'pro-war': ['pro', '-war'], 'no': ['no']}

    Args:
        lines: What was to be said.
        said: The tokens of what was said.
    """
    found: dict[str, list[str]] = {}
    at = 0
    for line in lines:
        tokens: list[str] = []
        rest = line
        while rest and at < len(said):
            token = said[at].lstrip("\r\n") if not tokens else said[at]
            whole = token.rstrip("\r\n")
            if not whole and not tokens:
                at += 1
                continue
            if not whole or not rest.startswith(whole):
                return found
            tokens.append(whole)
            rest = rest[len(whole) :]
            at += 1
        if rest:
            return found
        found[line] = tokens
    return found
