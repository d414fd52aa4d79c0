"""The embedding link: its votes depend on what it is told and on the text, and on nothing else."""

import asyncio
import importlib.util

import pytest

from catena.errors import TaskError
from catena.vectors.minilm import PACKAGE
from chains import open_alone

needs_weights = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in (PACKAGE, "safetensors", "tokenizers")),
    reason=f"{PACKAGE}, safetensors or tokenizers is not installed",
)
LABELS = ("waste", "water")


def link(labels=LABELS, **options):
    """Return an embedding link."""
    return open_alone({"name": "e", "kind": "embedding"} | options, labels=labels)


def test_fingerprint():
    """What the link is told is part of its fingerprint."""
    prints = {
        link(**options).fingerprint
        for options in (
            {},
            {"examples": {"waste": ["bins"]}},
            {"examples": {"waste": ["bin"]}},
            {"temperature": 0.1},
        )
    }
    assert len(prints) == 4
    assert link().fingerprint == link().fingerprint


def test_examples_of_a_stranger():
    """Examples of a label that is none are refused with the labels there are."""
    with pytest.raises(TaskError, match=r"link 'e': examples: air: no such label\. Labels: waste, water"):
        link(examples={"air": ["wind"]})


@needs_weights
def test_batch_independence():
    """A text gets the same vote alone and in any batch."""

    async def work():
        encoder = link()
        texts = [f"my bin number {at} " + "was not emptied " * at for at in range(20)]
        together = await encoder.ask(texts)
        alone = [(await encoder.ask([text]))[0] for text in texts]
        await encoder.close()
        return together, alone

    together, alone = asyncio.run(work())
    assert together == alone
    assert {vote.usage.cost_usd for vote in together} == {0.0}


@needs_weights
def test_labels():
    """It labels by similarity."""
    votes = asyncio.run(link().ask(["the bins were not emptied", "the tap is leaking"]))
    assert [vote.label for vote in votes] == ["waste", "water"]
    assert all(vote.confidence > 0 for vote in votes)
