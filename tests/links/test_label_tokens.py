"""The tokens of labels: those that follow a prompt, as a tree."""

import pytest

from catena.errors import LinkError
from catena.links.label_tokens import LabelTokens, Tree, common, spelled
from catena.vectors.lengths import batches, even_batches


def words(text):
    """Return a token for each piece of text: `ab` is one, a space belongs to the letter behind it."""
    tokens, at = [], 0
    while at < len(text):
        size = 2 if text[at : at + 2] in {"ab", " a", " b"} else 1
        tokens.append(sum(ord(letter) * 1000**n for n, letter in enumerate(text[at : at + size])))
        at += size
    return tokens


def after(text, labels=("b", "c"), spellings="written"):
    """Return the tokens of a text and of the labels behind it."""
    return LabelTokens(labels, spellings, words, "link 't'").after(text, tuple(words(text)))


def test_labels_begin_where_the_prompt_ends():
    """Where nothing joins, the prompt keeps its tokens and a label has its own."""
    ids, behind = after("xyz")
    assert ids == tuple(words("xyz"))
    assert (behind.dropped, behind.sequences) == (0, ((ord("b"),), (ord("c"),)))


def test_border():
    """A token that joins the prompt's end with a label belongs to the label, and for the others the prompt is cut too."""
    ids, behind = after("xya")
    assert ids == tuple(words("xy"))
    assert behind.sequences == (tuple(words("ab")), tuple(words("ac")))
    assert len(behind.sequences[0]) == 1


def test_prompts_that_end_alike_are_looked_at_once():
    """The labels' tokens of a second prompt with the same end are those of the first."""
    tokens = LabelTokens(("b", "c"), "written", words, "link 't'")
    ending = "y" * 40
    texts = [f"{start}{ending}" for start in ("one", "two")]
    one, two = (tokens.after(text, tuple(words(text)))[1] for text in texts)
    assert one is two


def test_labels_that_look_the_same():
    """Labels that a tokenizer can't tell apart are refused, as any score would be made up."""
    tokens = LabelTokens(("да", "нет"), "written", lambda text: [0 for _ in text.split()], "link 't'")
    with pytest.raises(LinkError, match=r"link 't': .* 'нет' has the same tokens as 'да'\. Rename it"):
        tokens.alone()


def test_label_without_tokens():
    """A label that a tokenizer leaves out is refused."""
    tokens = LabelTokens(("a", "\u200b"), "written", lambda text: words(text.strip("\u200b")), "link 't'")
    with pytest.raises(LinkError, match="has no tokens"):
        tokens.alone()


def test_spellings():
    """Common spellings are the capitalised one and both after a space, unless a space is there."""
    assert spelled("no", "written", spaced=False) == ["no"]
    assert spelled("no", "common", spaced=False) == ["no", "No", " no", " No"]
    assert spelled("no", "common", spaced=True) == ["no", "No"]
    assert spelled("1", "common", spaced=False) == ["1", " 1"]


def test_tree_shares_beginnings():
    """What sequences begin with is there once; one may end where another goes on."""
    tree = Tree([(1, 2, 3), (1, 2), (1, 4), (5,)])
    assert tree.tokens == [1, 2, 3, 4, 5]
    assert tree.parents == [-1, 0, 1, 0, -1]
    assert tree.depths == [0, 1, 2, 1, 0]
    assert tree.leaves == [2, 1, 3, 4]
    paths = [[at for at, on in enumerate(row) if on] for row in tree.paths()]
    assert paths == [[0], [0, 1], [0, 1, 2], [0, 3], [4]]


def test_tree_of_branches():
    """Without merging, each sequence has nodes of its own."""
    tree = Tree([(1, 2), (1, 3)], merge=False)
    assert tree.tokens == [1, 2, 1, 3]
    assert tree.parents == [-1, 0, -1, 2]
    assert tree.leaves == [1, 3]


def test_common():
    """How many first tokens two sequences share."""
    assert [common((1, 2), (1, 3)), common((1, 2), (1, 2, 3)), common((), (1,))] == [1, 2, 0]


def test_batches():
    """Each text is in one batch, similar lengths together, within both limits; what is too long is alone."""
    lengths = [5, 1, 9, 2, 2, 30]
    found = list(batches(lengths, 10, 3))
    assert sorted(at for batch in found for at in batch) == list(range(6))
    assert found == [[1, 3, 4], [0], [2], [5]]
    for batch in found:
        assert len(batch) == 1 or (len(batch) <= 3 and len(batch) * max(lengths[at] for at in batch) <= 10)


@pytest.mark.parametrize("at_once", [1, 2])
def test_even_batches(at_once):
    """No batch is a small remainder: they are as few as the limits allow, or one more, longest texts first."""
    lengths = [150 + at % 7 for at in range(256)]
    found = even_batches(lengths, 4096, None, at_once)
    assert sorted(at for batch in found for at in batch) == list(range(256))
    fewest = len(list(batches(lengths, 4096)))
    assert (fewest, len(found)) == (10, 10)
    tokens = [len(batch) * max(lengths[at] for at in batch) for batch in found]
    assert max(tokens) <= 4096
    assert max(tokens) - min(tokens) < 500
    assert [max(lengths[at] for at in batch) for batch in found] == sorted(
        (max(lengths[at] for at in batch) for batch in found), reverse=True
    )


@pytest.mark.parametrize(("count", "wanted"), [(4, 1), (11, 2), (25, 4), (41, 6)])
def test_batches_for_two_at_once(count, wanted):
    """Of several batches there is an even number, so that nobody waits for the last; a single one stays whole."""
    found = even_batches([10] * count, 100, None, 2)
    assert len(found) == wanted
    assert max(map(len, found)) - min(map(len, found)) <= max(map(len, found)) // 2 + 1


def test_even_batches_keep_the_limits():
    """A text beyond the limit is alone and makes the others' batches no smaller; no batch has more rows than it may."""
    assert even_batches([5, 900, 5, 5, 5], 20, None, 2) == [[1], [0, 2, 3, 4]]
    assert [len(batch) for batch in even_batches([5] * 12, 1000, 5)] == [4, 4, 4]
