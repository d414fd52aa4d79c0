"""A language model of the transformers library, in this process: every label scored in full, exactly.

Nothing is generated. The score of a label is the probability that the model, asked the question, answers with that label and
ends there; the log-probabilities of a vote are those of the closed label set, so that they sum to 1.
"""

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.links.checkpoint import Checkpoint, Source
from catena.links.decoders import CausalScorer
from catena.links.identity import fingerprint
from catena.links.label_scores import Seq2SeqScorer
from catena.links.label_tokens import Continuations, Spellings
from catena.links.passes import Passes, at_once, free, in_cache, keep_freed
from catena.links.questions import Questions
from catena.prompts import Prompter
from catena.task import LinkSpec, TaskSpec, convert
from catena.types import Answer, Capabilities, Failure, Usage, Vote

__all__ = ["TransformersLink", "open_link"]

DIGITS = 5  # of a log-probability; the further ones depend on what is in the same batch
TRIALS = tuple(
    f"Look at the whole of it, all in all, and then say what it is{end}"
    for end in ("?", " and what it isn't?")
)

Scores = NDArray[np.float64]


class Settings(Source, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of `kind: transformers`; those of the model itself are in `Source`.

    Args:
        chat: Whether to use the chat template, where the tokenizer has one.
        spellings: `written` scores a label as the task has it; `common` also capitalised and after a space.
        context: Most tokens of a question and a label; what the model's files say unless said.
        batch: Most questions at a time.
        pass_tokens: Most tokens in a pass; fewer for a wide model on the processor, and as soon as memory runs out.
        instruction: In the place of the task's, for this link alone.
        prompt: Likewise.
        system: Likewise; empty for none.
    """

    model: Annotated[str, msgspec.Meta(min_length=1)]
    chat: bool = True
    spellings: Spellings = "written"
    context: Annotated[int, msgspec.Meta(ge=1)] | None = None
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 256
    pass_tokens: Annotated[int, msgspec.Meta(ge=1)] = 8192
    instruction: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    prompt: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    system: str | None = None


def open_link(spec: LinkSpec, task: TaskSpec, where: str) -> "TransformersLink":
    """Build the link; see `registry.open_link`."""
    return TransformersLink(spec.name, convert(dict(spec.options), Settings, where), task, where)


class TransformersLink:
    """One model, loaded when it is first asked and freed when the link is closed."""

    def __init__(self, name: str, settings: Settings, task: TaskSpec, where: str) -> None:
        self.name = name
        self.render = Prompter(task, where, settings.instruction, settings.prompt)
        self.capabilities = Capabilities("label_logprobs", batch=settings.batch, model=settings.model)
        shaping = ("model", "revision", "dtype", "quantization", "chat", "spellings", "context")
        shaped = {key: getattr(settings, key) for key in shaping}
        own = {"instruction": settings.instruction, "prompt": settings.prompt}
        shaped |= {key: words for key, words in own.items() if words is not None}
        system = task.system if settings.system is None else settings.system
        self.fingerprint = fingerprint(name, "transformers", task, system=system, **shaped)
        self._settings = settings
        self._labels = tuple(task.labels)
        self._system = system or ""
        self._where = where
        self._checkpoint: Checkpoint | None = None
        self._questions: Questions | None = None
        self._passes: Passes | None = None
        self._model = ""

    def most(self, prompt: str) -> Usage | None:  # noqa: ARG002
        """Return that it costs nothing: it runs here."""
        return Usage(cost_usd=0.0)

    def ready(self) -> None:
        """Read the model's configuration and tokenizer, not yet its weights; see `types.Link`."""
        if self._questions is None:
            said = self._settings
            self._checkpoint = Checkpoint(said, self._where)
            self._questions = Questions(
                self._checkpoint,
                self._labels,
                self._system,
                self._where,
                chat=said.chat,
                spellings=said.spellings,
                context=said.context,
            )

    async def ask(self, prompts: Sequence[str]) -> Sequence[Answer]:
        """Score all labels after each prompt, in a thread; see `types.Link`."""
        return await asyncio.to_thread(self._label, prompts) if prompts else []

    async def close(self) -> None:
        """Forget the model."""
        self._checkpoint = self._questions = self._passes = None
        free()

    def _label(self, prompts: Sequence[str]) -> list[Answer]:
        passes = self._loaded()
        assert self._questions is not None
        start = time.perf_counter()
        questions = self._questions.read(prompts)
        found: list[Scores | Failure | None] = [self._questions.too_long(question) for question in questions]
        alike: dict[Continuations, list[int]] = {}
        for at, (_, behind) in enumerate(questions):
            if found[at] is None:
                alike.setdefault(behind, []).append(at)
        for behind, places in alike.items():
            scores = passes.scores([questions[at][0] for at in places], behind)
            for at, each in zip(places, scores, strict=True):
                found[at] = each
        usage = Usage(cost_usd=0.0, latency_ms=(time.perf_counter() - start) * 1000 / len(prompts))
        scored = np.array([each for each in found if isinstance(each, np.ndarray)])
        votes = iter(self._votes(scored.reshape(-1, len(self._labels)), usage))
        return [
            msgspec.structs.replace(each, usage=usage, model=self._model)
            if isinstance(each, Failure)
            else next(votes)
            for each in found
        ]

    def _loaded(self) -> Passes:
        """Return the model, which is loaded and tried where it isn't yet."""
        self.ready()
        assert self._checkpoint is not None
        assert self._questions is not None
        if self._passes is None:
            model = self._checkpoint.weights()
            ends, said = self._questions.ends, self._settings
            trials = self._questions.read(TRIALS)
            with self._checkpoint.loading():
                kind = Seq2SeqScorer if self._checkpoint.seq2seq else CausalScorer
                scorer = kind(model, self._checkpoint.reach())
                scorer.try_on([prompt for prompt, _ in trials], trials[0][1].sequences, ends)
            alone = said.device_map is not None or said.quantization is not None  # their state is not for two
            together = 1 if alone else at_once(model)
            keep_freed()
            tokens = in_cache(model, said.pass_tokens)
            self._passes = Passes(scorer, ends, tokens, said.batch, self._where, together)
            self._model = self._checkpoint.identity(model)
        return self._passes

    def _votes(self, scores: Scores, usage: Usage) -> Iterator[Answer]:
        """Yield an answer for each row of log-probabilities, [rows, labels]."""
        logprobs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        logprobs = np.minimum(np.round(logprobs, DIGITS) + 0.0, 0.0)
        second, first = np.partition(logprobs, -2)[:, -2:].T
        margins = np.round(first - second, DIGITS).tolist()
        for best, margin, each in zip(logprobs.argmax(1).tolist(), margins, logprobs.tolist(), strict=True):
            if math.isnan(margin):
                said = "the model's scores are no numbers; try dtype: bfloat16 or float32"
                yield Failure("no_label", said, usage=usage, model=self._model)
            else:
                label = self._labels[best]
                yield Vote(label, margin, "label_logprobs", tuple(each), usage=usage, model=self._model)
