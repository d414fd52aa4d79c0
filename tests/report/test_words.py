"""Figures and text as people read them."""

import pytest

from catena.report.words import shown


@pytest.mark.parametrize("odd", ["a\x00b", "a\x1bb", "a\u202eb", "a\u2066b", "a\u200bb", "a\ue000b"])
def test_what_is_not_printed_is_shown_as_a_box(odd):
    """Control, format and private characters neither break a picture nor turn its text around."""
    assert shown(odd) == "a□b"


def test_long_text_is_cut_to_the_length():
    """The sign for the cut is within the length."""
    assert shown("x" * 100, 10) == "x" * 9 + "…"


def test_line_breaks_become_spaces():
    """One line stays one line."""
    assert shown("one\r\n two\tthree") == "one two three"
