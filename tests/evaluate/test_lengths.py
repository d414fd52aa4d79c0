"""Lengths of prompts, and samples that have all of them."""

import numpy as np
import pytest

from catena.data.rows import read_rows
from catena.errors import InputError
from catena.evaluate.lengths import Lengths, draw_by_length, lengths_of
from catena.links import open_link
from catena.testing.provider import FakeProvider
from chains import chain_task, openai, rows_of


def lengths(texts, max_chars=100):
    """Return the lengths of a task of one link over these texts."""
    task = chain_task(openai(FakeProvider()), data={"id": "id"})
    link = open_link(task.chain[0], task)
    return lengths_of([link], read_rows(rows_of(texts), task.data, task.labels), max_chars)


def test_prompts_are_measured_and_equal_ones_known():
    """In bytes; a prompt that three rows share is a third of one for each; no call, no length."""
    found = lengths(["abc", "abc", "abc", "äöü", "", "x" * 101])
    assert found.size[0, 3] - found.size[0, 0] == 3
    assert found.once[0, :4] == pytest.approx([1 / 3, 1 / 3, 1 / 3, 1])
    assert np.isnan(found.size[0, 4:]).all()
    assert np.isnan(found.text[4:]).all()


def known(count):
    """Return lengths of rows that are as long as their number."""
    size = np.arange(1.0, count + 1)
    return Lengths(size[None], np.ones((1, count)), size, [f"i{at}" for at in range(count)])


def test_a_sample_has_all_lengths():
    """One row of each tenth; another seed draws others, the same one the same, in random order."""
    first, again, other = (draw_by_length(known(1000), 10, seed) for seed in (0, 0, 1))
    assert sorted((first // 100).tolist()) == list(range(10))
    assert first.tolist() == again.tolist() != other.tolist()
    assert first.tolist() != sorted(first.tolist())


def test_all_rows_are_as_likely():
    """Over many seeds each row is drawn as often as any other: 200 of 20 in 100 each, within chance."""
    drawn = np.bincount(
        np.concatenate([draw_by_length(known(100), 20, seed) for seed in range(1000)]), minlength=100
    )
    assert drawn.min() > 140
    assert drawn.max() < 260


def test_few_rows_are_all_drawn():
    """And none that can't be asked about is an error."""
    assert sorted(draw_by_length(known(5), 50, 0).tolist()) == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="no row can be asked about"):
        draw_by_length(lengths(["", " "]), 50, 0)
