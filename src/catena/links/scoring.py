"""Servers that score labels themselves, so that no list of alternatives cuts anything off.

`first-token`: vLLM gives the log-probability of any token that is asked for (`logprob_token_ids`): of every label's first
one, by one call. `likelihood`: it gives that of every token of a prompt (`prompt_logprobs`): each label is put behind the
question as if it had been answered, its end included, by one call a label; exact, whatever tokens labels share. `systemone`:
vLLM and transformers serve choose among options at `/v1/systemone`. `auto` is found out (see `links.ladder`); until it is, it is
the `answer`.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import log
from typing import Any, Literal

import msgspec

from catena.confidence import LabelScorer, Listed, Token
from catena.confidence.path import FLOOR
from catena.errors import ScoringError
from catena.links.likelihood import LIKELIHOOD, Likely, Scored, label_logprob, vote_of
from catena.links.reading import abstained
from catena.links.wire import Completion, Count, Tokens, bad_body, decoder
from catena.types import Answer, Failure, Usage, Vote, together

__all__ = ["SOURCES", "Scoring", "ServerScorer", "read_choice", "read_first_token"]

Scoring = Literal["answer", "first-token", "likelihood", "systemone", "auto"]
SOURCES = {
    "first-token": "first_token_logprobs",
    "likelihood": LIKELIHOOD,
    "systemone": "systemone",
}
CHOOSE = "Choose the label that answers the question above."
UNSUPPORTED = Failure("no_label", "the server's answer does not score the labels")
LISTED = 20
"""Tokens that vLLM lists at most, the generated one among them, unless it was started with more."""

Send = Callable[[str, Mapping[str, Any], Callable[[bytes, float], Answer]], Awaitable[Answer]]


class ServerScorer:
    """Has a server score the labels after a question.

    Args:
        way: How.
        send: Sends a request to a path of the server and returns what a function reads from the answer.
        question: Returns the body of a request about a prompt.
        answers: What may be answered: the labels, and the word for none of them last.
        described: Descriptions of the labels; may be empty.
        abstain: What may be answered and is no label.
        tokenize: Returns a text's tokens, number and text of each; None where the server can't say.
        usage: Returns what an answer used.
        where: Begins every message.
    """

    def __init__(
        self,
        way: Scoring,
        send: Send,
        question: Callable[[str], dict[str, Any]],
        answers: Sequence[str],
        described: Mapping[str, str],
        abstain: str | None,
        tokenize: Callable[[str], Awaitable[list[tuple[int, str]] | None]],
        usage: Callable[[Completion, float], Usage],
        where: str,
    ) -> None:
        self._send = send
        self._question = question
        self._answers = answers
        self._described = described
        self._abstain = abstain
        self._tokenize = tokenize
        self._usage = usage
        self._where = where
        self._scorer = LabelScorer(answers)
        self._first: list[int] = []
        ways = {"first-token": self._by_first_token, "likelihood": self._by_likelihood}
        self.ask: Callable[[str], Awaitable[Answer]] = ways.get(way, self._by_choice)

    async def _by_first_token(self, prompt: str) -> Answer:
        if not self._first:
            self._first = await self._first_tokens()
        body = _of_one_token(self._question(prompt))
        body |= {"top_logprobs": LISTED, "logprob_token_ids": self._first}

        def read(raw: bytes, latency: float) -> Answer:
            return self._read(raw, latency, lambda choice: read_first_token(choice, self._scorer))

        return self._without(await self._send("/chat/completions", body, read))

    async def _first_tokens(self) -> list[int]:
        """Return the first tokens of the labels, as they are written and in other spellings, as many as are listed.

        Raises:
            ScoringError: Labels share their first token, they are too many, or the server does not tell tokens.
        """
        way = "Write scoring: likelihood, or leave it out."
        if len(self._answers) >= LISTED:
            said = f"{len(self._answers)} labels are more than the server lists tokens"
            raise ScoringError(f"{self._where}: scoring: {said}.", way)
        written = await self._begun_by(self._answers)
        for of in written.values():
            if len(of) > 1:
                said = f"labels share their first token: {', '.join(of)}"
                raise ScoringError(f"{self._where}: scoring: {said}.", way)
        spelt = {f" {label}": label for label in self._answers}
        spelt |= {label[:1].upper() + label[1:]: label for label in self._answers}
        more = await self._begun_by(list(spelt))
        apart = [n for n, of in more.items() if n not in written and len({spelt[text] for text in of}) == 1]
        return [*written, *apart][: LISTED - 1]

    async def _begun_by(self, texts: Sequence[str]) -> dict[int, list[str]]:
        """Return the texts that each first token begins, in order."""
        found: dict[int, list[str]] = {}
        for text in texts:
            tokens = await self._tokenize(text)
            if not tokens:
                raise ScoringError(
                    f"{self._where}: scoring: the server has no tokenizer at /tokenize.",
                    "Write scoring: likelihood, or leave it out.",
                )
            found.setdefault(tokens[0][0], []).append(text)
        return found

    async def _by_likelihood(self, prompt: str) -> Answer:
        """Ask about one label after the other; a failure of any is that of all."""
        used: list[Usage] = []
        found: list[Scored] = []
        model = ""

        def read(raw: bytes, latency: float) -> Answer:
            return self._read(raw, latency, self._scored_of(label, found))

        for label in self._answers:
            answer = await self._send("/chat/completions", _said(self._question(prompt), label), read)
            used.append(answer.usage)
            if isinstance(answer, Failure):
                return msgspec.structs.replace(answer, usage=together(used))
            model = answer.model
        vote = vote_of(self._answers, found)
        return self._without(msgspec.structs.replace(vote, usage=together(used), model=model))

    def _scored_of(self, label: str, found: list[Scored]) -> Callable[[Likely], Answer]:
        def keep(said: Likely) -> Answer:
            before = label_logprob(said.prompt_logprobs or (), label)
            if before is None or not said.choices:
                return UNSUPPORTED
            found.append(Scored(before, said.choices[0]))
            return Vote(label)

        return keep

    async def _by_choice(self, prompt: str) -> Answer:
        asked = self._question(prompt)
        state = "\n\n".join(str(message["content"]) for message in asked["messages"])
        criteria = {label: self._described.get(label) or None for label in self._answers}
        choice = {"type": "choice", "instructions": CHOOSE, "criteria": criteria}
        body = {"model": asked["model"], "state": state, "questions": {"label": choice}}
        return self._without(await self._send("/systemone", body, self._chosen))

    def _chosen(self, raw: bytes, latency: float) -> Answer:
        answer = read_choice(raw, latency, self._answers)
        used = answer.usage
        tokens = Tokens(prompt_tokens=used.prompt_tokens, completion_tokens=used.completion_tokens)
        priced = self._usage(Completion([], usage_=tokens), latency)
        return msgspec.structs.replace(answer, usage=priced)

    def _read(self, raw: bytes, latency: float, score: Callable[[Likely], Answer]) -> Answer:
        try:
            said = _decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return bad_body(error, raw, latency)
        # What the answer says is not read; that it was refused or filtered is.
        answer = (said.choices[0].failure("said") if said.choices else None) or score(said)
        text = (said.choices[0].message.content or "") if said.choices else ""
        return msgspec.structs.replace(
            answer, text=text, usage=self._usage(said, latency), model=said.fingerprint
        )

    def _without(self, answer: Answer) -> Answer:
        """Return the answer over the labels alone; a word that is none of them is a failure."""
        if self._abstain is None or isinstance(answer, Failure):
            return answer
        if answer.label == self._abstain:
            return msgspec.structs.replace(
                abstained(answer.label), usage=answer.usage, text=answer.text, model=answer.model
            )
        cut = {
            name: values[:-1]
            for name in ("logprobs", "lower", "upper")
            if (values := getattr(answer, name)) is not None
        }
        return msgspec.structs.replace(answer, **cut)


def read_first_token(choice: Likely, scorer: LabelScorer) -> Answer:
    """Return the vote for the label whose first tokens are likeliest.

    Args:
        choice: The answer to a request for the log-probabilities of all labels' first tokens.
        scorer: Knows what may be answered.
    """
    tokens = choice.choices[0].tokens()[:1] if choice.choices else []
    if not tokens:
        return UNSUPPORTED
    (first,) = tokens
    listed = [Listed(each.token, each.raw, each.logprob) for each in first.top_logprobs or ()]
    scores = scorer.score([Token(first.token, first.raw, first.logprob, listed)], 0, ranked=False)
    if scores.logprobs[scores.best] is None:
        return UNSUPPORTED
    label = scorer.labels[scores.best]
    return Vote(
        label,
        scores.least,
        SOURCES["first-token"],
        scores.logprobs,
        lower=scores.lower,
        upper=scores.upper,
    )


def read_choice(raw: bytes, latency: float, labels: Sequence[str]) -> Answer:
    """Return the vote that an answer of `/v1/systemone` is."""
    try:
        said = _decode_choice(raw)
        chances = [said.answers["label"].probabilities[label] for label in labels]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return bad_body(error, raw, latency)
    except KeyError:
        return UNSUPPORTED
    if not all(0.0 <= chance <= 1.0 for chance in chances) or not any(chances):
        return UNSUPPORTED
    second, first = sorted(chances)[-2:]
    usage = Usage(said.usage.input_tokens or 0, said.usage.output_tokens or 0, None, latency)
    logprobs = tuple(log(chance) if chance else None for chance in chances)
    margin = log(first) - log(max(second, FLOOR))
    return Vote(labels[chances.index(first)], margin, "systemone", logprobs, usage=usage, model=said.model)


class ChoiceTokens(msgspec.Struct, gc=False):
    """Counts of tokens."""

    input_tokens: Count | None = 0
    output_tokens: Count | None = 0


class Chosen(msgspec.Struct, gc=False):
    """One question's answer."""

    probabilities: dict[str, float]


class Choices(msgspec.Struct, gc=False):
    """The body of an answer of `/v1/systemone`."""

    answers: dict[str, Chosen]
    model: str = ""
    usage: ChoiceTokens = msgspec.field(default_factory=ChoiceTokens)


def _of_one_token(body: dict[str, Any]) -> dict[str, Any]:
    names = [name for name in ("max_tokens", "max_completion_tokens") if name in body] or ["max_tokens"]
    return body | dict.fromkeys(names, 1) | {"logprobs": True}


def _said(body: dict[str, Any], label: str) -> dict[str, Any]:
    """Return a request in which the label has been answered already."""
    messages = [*body["messages"], {"role": "assistant", "content": label}]
    more = {"prompt_logprobs": 1, "top_logprobs": LISTED}
    more |= {"continue_final_message": True, "add_generation_prompt": False}
    return _of_one_token(body) | more | {"messages": messages}


_decode = decoder(Likely)
_decode_choice = msgspec.json.Decoder(Choices).decode
