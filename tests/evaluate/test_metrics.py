"""Accuracy and macro-F1, with their definitions in the open."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catena.evaluate.metrics import confusion, score


def indices(values):
    """Return label indices."""
    return np.array(values, np.int16)


def test_accuracy_counts_unlabelled_as_wrong():
    """Two right, one wrong, one unlabelled: a half."""
    assert score(indices([0, 0, 1, 1]), indices([0, 1, 1, -1]), "ab").accuracy == 0.5


def test_items_without_gold_do_not_count():
    """Neither for n nor as a wrongly given label."""
    scores = score(indices([0, -1, 1]), indices([0, 0, 1]), "ab")
    assert (scores.n, scores.accuracy, scores.macro_f1) == (2, 1.0, 1.0)


def test_without_gold_there_is_no_score():
    """None, not 0 and not NaN."""
    scores = score(indices([-1, -1]), indices([0, 1]), "ab")
    assert (scores.n, scores.accuracy, scores.macro_f1) == (0, None, None)


def test_macro_f1_is_over_the_labels_that_occur_in_gold():
    """A label that is only ever given lowers the others' precision and is no term of the mean."""
    scores = score(indices([0, 0, 1]), indices([0, 2, 1]), "abc")
    assert scores.macro_f1 == pytest.approx((2 / 3 + 1) / 2)


def test_unlabelled_is_a_miss_and_no_false_alarm():
    """An unlabelled item costs recall, not precision."""
    first = score(indices([0, 0]), indices([0, -1]), "ab").per_class[0]
    assert (first.precision, first.recall, first.f1, first.support) == (1.0, 0.5, pytest.approx(2 / 3), 2)


def test_per_class_has_every_label_in_order():
    """Labels that never occur have zeros, not a division by zero."""
    scores = score(indices([0]), indices([0]), ["x", "y"])
    assert [(one.label, one.f1, one.support) for one in scores.per_class] == [("x", 1.0, 1), ("y", 0.0, 0)]


def test_all_unlabelled():
    """Nothing labelled scores 0."""
    scores = score(indices([0, 1]), indices([-1, -1]), "ab")
    assert (scores.accuracy, scores.macro_f1) == (0.0, 0.0)


def test_macro_f1_over_named_labels():
    """SemEval's mean over favor and against leaves out the third label's F1."""
    gold, label = indices([0, 0, 1, 2]), indices([0, 1, 1, 0])
    whole = score(gold, label, ["favor", "against", "none"])
    part = score(gold, label, ["favor", "against", "none"], over=["favor", "against"])
    assert part.macro_f1 == sum(each.f1 for each in whole.per_class[:2]) / 2
    assert whole.macro_f1 == sum(each.f1 for each in whole.per_class) / 3


@settings(deadline=None)  # the first example imports scikit-learn
@given(
    st.integers(1, 6).flatmap(
        lambda k: st.tuples(
            st.just(k),
            st.lists(st.tuples(st.integers(-1, k - 1), st.integers(-1, k - 1)), min_size=1, max_size=60),
        )
    )
)
def test_scores_are_those_of_scikit_learn(drawn):
    """Accuracy, macro-F1 over the labels in gold and the scores per label equal scikit-learn's; unlabelled = wrong."""
    metrics = pytest.importorskip("sklearn.metrics")
    labels, pairs = drawn
    gold, given_ = (list(column) for column in zip(*pairs, strict=True))
    scores = score(indices(gold), indices(given_), [str(k) for k in range(labels)])
    known = [(g, p) for g, p in pairs if g >= 0]
    assert scores.n == len(known)
    if not known:
        return
    truth, found = zip(*known, strict=True)
    macro = metrics.f1_score(truth, found, labels=sorted(set(truth)), average="macro", zero_division=0)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(truth, found))
    assert scores.macro_f1 == pytest.approx(macro)
    each = metrics.precision_recall_fscore_support(truth, found, labels=list(range(labels)), zero_division=0)
    ours = [(one.precision, one.recall, one.f1, one.support) for one in scores.per_class]
    assert ours == [pytest.approx(row) for row in zip(*each, strict=True)]


def test_micro_f1_by_hand():
    """3 hits, 5 items with gold, 4 of them labelled: 6 / 9. Over one label: its own F1."""
    gold, label = indices([0, 0, 1, 2, 2]), indices([0, 0, 1, 1, -1])
    assert score(gold, label, "abc").micro_f1 == pytest.approx(2 * 3 / (5 + 4))
    assert score(gold, label, ["a", "b", "c"], over=["b"]).micro_f1 == pytest.approx(2 * 1 / (1 + 2))


def test_micro_f1_is_accuracy_where_all_are_labelled():
    """Pooled over all labels, every wrong label is one miss and one false alarm."""
    scores = score(indices([0, 1, 2, 0]), indices([0, 2, 2, 1]), "abc")
    assert scores.micro_f1 == pytest.approx(scores.accuracy)


def test_the_confusion_has_a_column_for_the_unlabelled():
    """Rows are gold; items without gold are left out."""
    found = confusion(indices([0, 0, 1, -1]), indices([0, -1, 0, 1]), 2)
    assert found.tolist() == [[1, 0, 1], [1, 0, 0]]
