"""A sentence-embedding zero-shot classifier: no network, no key, no torch."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from catena.errors import TaskError
from catena.links.identity import fingerprint
from catena.task import LinkSpec, TaskSpec, convert
from catena.types import Answer, Capabilities, Item, Usage, Vote
from catena.vectors import BUILT_IN, encode, encoder

__all__ = ["EmbeddingLink", "open_link"]

MOST_CHARS = 4000  # far beyond what the encoder reads


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of `kind: embedding`.

    Args:
        model: `all-MiniLM-L6-v2` is built in; any other name or path runs through sentence-transformers.
        describe: What the link is told about a label: its `name` only, or its `description` too.
        examples: Texts that belong to a label, by label.
        temperature: Scale of cosine similarity before the softmax over labels; changes confidence, never the label.
    """

    model: str = BUILT_IN
    describe: Literal["name", "description"] = "description"
    examples: dict[str, list[str]] = {}
    temperature: Annotated[float, msgspec.Meta(gt=0)] = 0.05


def open_link(spec: LinkSpec, task: TaskSpec, where: str) -> "EmbeddingLink":
    """Build the link; see `registry.open_link`."""
    settings = convert(dict(spec.options), Settings, where)
    strangers = [label for label in settings.examples if label not in task.labels]
    if strangers:
        raise TaskError(
            f"{where}: examples: {', '.join(strangers)}: no such label.", f"Labels: {', '.join(task.labels)}."
        )
    return EmbeddingLink(spec.name, settings, task)


class EmbeddingLink:
    """Labels a text by the label whose words and examples it is most similar to.

    A label's vector is the mean of the vectors of what the link is told about it, scaled to length 1. The label
    probabilities are the softmax of cosine similarity / temperature; the confidence is their log-probability margin.
    """

    def __init__(self, name: str, settings: Settings, task: TaskSpec) -> None:
        self.name = name
        self.capabilities = Capabilities("label_logprobs", batch=64, model=settings.model)
        self._told = {label: _told(label, text, settings) for label, text in task.labels.items()}
        self.fingerprint = fingerprint(
            name, "embedding", task, told=self._told, model=settings.model, temperature=settings.temperature
        )
        self._settings = settings
        self._encoder: Any = None
        self._labels = tuple(task.labels)
        self._vectors: NDArray[np.float32] | None = None

    def render(self, item: Item) -> str:
        """Return the text, and the target where there is one."""
        text = item.text[:MOST_CHARS]
        return f"{item.target}: {text}" if item.target else text

    def most(self, prompt: str) -> Usage | None:  # noqa: ARG002
        """Return that it costs nothing: it runs here."""
        return Usage(cost_usd=0.0)

    def ready(self) -> None:
        """Load the model; see `types.Link`."""
        if self._encoder is None:
            self._encoder = encoder(self._settings.model, f"link '{self.name}'")
            self._vectors = _label_vectors(self._encoder, self._told)

    async def ask(self, prompts: Sequence[str]) -> Sequence[Answer]:
        """Label a batch in a thread; see `types.Link`."""
        return await asyncio.to_thread(self._label, prompts) if prompts else []

    async def close(self) -> None:
        """Forget the model."""
        self._encoder = self._vectors = None

    def _label(self, prompts: Sequence[str]) -> list[Answer]:
        self.ready()
        assert self._vectors is not None
        scores = encode(self._encoder, prompts) @ self._vectors.T / self._settings.temperature
        scores -= scores.max(axis=1, keepdims=True)
        logprobs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        # Rounded, so that a machine's last bits seldom decide anything.
        return [self._vote(np.round(row.astype(np.float64), 4) + 0.0) for row in logprobs]

    def _vote(self, logprobs: NDArray[np.float64]) -> Vote:
        second, first = np.partition(logprobs, -2)[-2:]
        return Vote(
            self._labels[int(logprobs.argmax())],
            round(float(first - second), 4),
            "label_logprobs",
            tuple(logprobs.tolist()),
            usage=Usage(cost_usd=0.0),
            model=self._settings.model,
        )


def _told(label: str, description: str, settings: Settings) -> list[str]:
    if settings.describe == "name":
        return [label, *settings.examples.get(label, ())]
    return [f"{label}: {description}" if description else label, *settings.examples.get(label, ())]


def _label_vectors(by: Any, told: Mapping[str, Sequence[str]]) -> NDArray[np.float32]:
    means = np.stack([encode(by, texts).mean(axis=0) for texts in told.values()])
    vectors: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
    return vectors
