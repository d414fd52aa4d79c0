"""A language model of the transformers library, in this process: every label scored in full, exactly.

Nothing is generated. The score of a label is the probability that the model, asked the question, answers with that label and
ends there; the log-probabilities of a vote are those of the closed label set, so that they sum to 1.
"""

import asyncio
import gc
import time
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.errors import LinkError
from catena.links.checkpoint import Checkpoint, Source
from catena.links.identity import fingerprint
from catena.links.label_scores import Scorer
from catena.links.label_tokens import Continuations, Spellings, Tokens
from catena.links.lengths import batches
from catena.links.questions import Questions
from catena.prompts import Prompter
from catena.task import LinkSpec, TaskSpec, convert
from catena.types import Answer, Capabilities, Failure, Usage, Vote

__all__ = ["TransformersLink", "open_link"]

DIGITS = 5  # of a log-probability; the further ones depend on what is in the same batch
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")

Scores = NDArray[np.float64]


class Settings(Source, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of `kind: transformers`; those of the model itself are in `Source`.

    Args:
        chat: Whether to use the chat template, where the tokenizer has one.
        spellings: `written` scores a label as the task has it; `common` also capitalised and after a space.
        context: Most tokens of a question and a label; what the model's files say unless said.
        batch: Most questions at a time.
        pass_tokens: Most tokens at a time; fewer as soon as memory runs out.
    """

    model: Annotated[str, msgspec.Meta(min_length=1)]
    chat: bool = True
    spellings: Spellings = "written"
    context: Annotated[int, msgspec.Meta(ge=1)] | None = None
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    pass_tokens: Annotated[int, msgspec.Meta(ge=1)] = 8192


def open_link(spec: LinkSpec, task: TaskSpec, where: str) -> "TransformersLink":
    """Build the link; see `registry.open_link`."""
    return TransformersLink(spec.name, convert(dict(spec.options), Settings, where), task, where)


class TransformersLink:
    """One model, loaded when it is first asked and freed when the link is closed."""

    def __init__(self, name: str, settings: Settings, task: TaskSpec, where: str) -> None:
        self.name = name
        self.render = Prompter(task)
        self.capabilities = Capabilities("label_logprobs", batch=settings.batch, model=settings.model)
        shaping = ("model", "revision", "dtype", "quantization", "chat", "spellings", "context")
        self.fingerprint = fingerprint(
            name, "transformers", task, system=task.system, **{key: getattr(settings, key) for key in shaping}
        )
        self._settings = settings
        self._labels = tuple(task.labels)
        self._system = task.system or ""
        self._where = where
        self._questions: Questions | None = None
        self._scorer: Scorer | None = None
        self._model = ""
        self._tokens = settings.pass_tokens

    def most(self, prompt: str) -> Usage | None:  # noqa: ARG002
        """Return that it costs nothing: it runs here."""
        return Usage(cost_usd=0.0)

    def ready(self) -> None:
        """Read the model's configuration and tokenizer, not yet its weights; see `types.Link`."""
        if self._questions is None:
            said = self._settings
            self._questions = Questions(
                Checkpoint(said, self._where),
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
        self._questions = self._scorer = None
        _free()

    def _label(self, prompts: Sequence[str]) -> list[Answer]:
        self.ready()
        assert self._questions is not None
        start = time.perf_counter()
        if self._scorer is None:
            self._scorer, self._model = self._questions.load()
            start = time.perf_counter()  # loading is no vote's latency
        questions = self._questions.questions(prompts)
        scores = [self._questions.too_long(question) for question in questions]
        alike: dict[Continuations, list[int]] = {}
        for at, (_, continuations) in enumerate(questions):
            if scores[at] is None:
                alike.setdefault(continuations, []).append(at)
        for continuations, places in alike.items():
            found = self._scores([questions[at][0] for at in places], continuations)
            for at, each in zip(places, found, strict=True):
                scores[at] = each
        usage = Usage(cost_usd=0.0, latency_ms=(time.perf_counter() - start) * 1000 / len(prompts))
        return [self._answer(each, usage) for each in scores]

    def _answer(self, scores: Scores | Failure | None, usage: Usage) -> Answer:
        assert scores is not None
        if isinstance(scores, Failure):
            return msgspec.structs.replace(scores, usage=usage, model=self._model)
        if not np.isfinite(scores).all():
            said = "the model's scores are no numbers; try dtype: bfloat16 or float32"
            return Failure("no_label", said, usage=usage, model=self._model)
        logprobs = np.round(scores - np.logaddexp.reduce(scores), DIGITS) + 0.0
        second, first = np.partition(logprobs, -2)[-2:]
        return Vote(
            self._labels[int(logprobs.argmax())],
            round(float(first - second), DIGITS),
            "label_logprobs",
            tuple(np.minimum(logprobs, 0.0).tolist()),
            usage=usage,
            model=self._model,
        )

    def _scores(self, prompts: Sequence[Tokens], continuations: Continuations) -> list[Scores | Failure]:
        """Score the labels after each prompt; where memory runs out, with half as much at a time."""
        found: list[Scores | Failure | None] = [None] * len(prompts)
        behind = sum(map(len, continuations.sequences))
        while todo := [at for at, each in enumerate(found) if each is None]:
            lengths = [len(prompts[at]) + behind for at in todo]
            for batch in batches(lengths, self._tokens, self._settings.batch):
                places = [todo[n] for n in batch]
                scores = self._one_pass([prompts[at] for at in places], continuations)
                if scores is None and len(batch) > 1:
                    self._tokens = max(1, len(batch) * max(lengths[n] for n in batch) // 2)
                    break
                for n, at in enumerate(places):
                    found[at] = _out_of_memory(len(prompts[at])) if scores is None else scores[n]
        return [each for each in found if each is not None]

    def _one_pass(self, prompts: Sequence[Tokens], continuations: Continuations) -> Scores | None:
        """Return the labels' scores after each prompt, [prompts, labels]; None where memory runs out."""
        assert self._scorer is not None
        assert self._questions is not None
        try:
            scores = self._scorer.score(prompts, continuations.sequences, self._questions.ends)
        except (RuntimeError, MemoryError, IndexError, ValueError) as error:
            said = " ".join(str(error).split())
            if not isinstance(error, MemoryError) and not any(sign in said for sign in OUT_OF_MEMORY):
                raise LinkError(f"{self._where}: the model failed: {said[:300]}.") from error
        else:
            return _per_label(scores, continuations.owners, len(self._labels))
        _free()  # not before the error is gone, which holds the tensors
        return None


def _per_label(scores: Scores, owners: Sequence[int], labels: int) -> Scores:
    """Add up the probabilities of each label's spellings, [prompts, labels]."""
    if len(owners) == labels:
        return scores
    own = np.asarray(owners)
    return np.stack([np.logaddexp.reduce(scores[:, own == label], axis=1) for label in range(labels)], axis=1)


def _out_of_memory(length: int) -> Failure:
    return Failure("too_long", f"memory ran out over this question of {length:,} tokens alone")


def _free() -> None:
    """Give memory back to the device."""
    import sys  # noqa: PLC0415

    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.accelerator.is_available():
        torch.accelerator.memory.empty_cache()

