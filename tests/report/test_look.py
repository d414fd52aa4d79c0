"""The look that the report and the live page share, and the templates that escape."""

import re

import jinja2
import pytest

from catena.report.pages import environment, look, style_hash
from payloads import PAYLOADS

TEXT, MARK = 4.5, 3.0
GROUNDS = ("paper", "surface", "sunk")


def schemes():
    """Return the variables of light, dark and print by name."""
    blocks = {
        "light": re.search(r"^:root \{(.*?)^\}", look(), re.DOTALL | re.MULTILINE)[1],
        "dark": re.search(r"prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}", look(), re.DOTALL)[1],
        "print": re.search(r"@media print \{\s*:root \{(.*?)\}", look(), re.DOTALL)[1],
    }
    return {name: dict(re.findall(r"--([\w-]+): (#\w{6})\b", block)) for name, block in blocks.items()}


def luminance(colour):
    """Return the relative luminance of a colour (WCAG 2.1)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one, other):
    """Return the contrast of two colours (WCAG 2.1)."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_text_can_be_read_on_every_ground(scheme):
    """Ink, muted text, links and the words of badges have at least 4.5:1, also on the ground of their badge."""
    colours = schemes()[scheme]
    for ground in GROUNDS:
        for text in ("ink", "muted", "accent", "good", "warn", "bad"):
            assert contrast(colours[text], colours[ground]) >= TEXT, (text, ground)
    for text in ("good", "warn", "bad", "accent"):
        assert contrast(colours[text], colours[f"{text}-wash"]) >= TEXT, text
    assert contrast(colours["accent-ink"], colours["accent"]) >= TEXT
    assert contrast(colours["ink"], colours["accent-wash"]) >= TEXT


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_marks_stand_out_from_every_ground(scheme):
    """The colours of links and labels, and the edges of fields, have at least 3:1."""
    colours = schemes()[scheme]
    for ground in GROUNDS:
        for mark in [f"c{at}" for at in range(1, 9)] + ["edge"]:
            assert contrast(colours[mark], colours[ground]) >= MARK, (mark, ground)


def test_nothing_of_the_look_comes_from_elsewhere():
    """No font, picture or further style sheet is fetched."""
    assert not re.search(r"url\(|@import|https?:", look())


def test_whatever_a_template_is_called_it_escapes(tmp_path):
    """200 payloads leave no tag and no quote as they were."""
    made = environment()
    template = made.from_string('<p title="{{ x }}">{{ x }}</p>')
    for payload in PAYLOADS:
        inner = template.render(x=payload)[len('<p title="') : -len("</p>")]
        assert not set("<'") & set(inner.replace('">', "", 1)), payload


def test_there_are_200_different_payloads():
    """As many as are promised."""
    assert len(set(PAYLOADS)) == 200


def test_an_undefined_name_is_an_error():
    """A misspelt name shows no empty place."""
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string("{{ nothing.of }}").render()


def test_a_style_is_named_by_its_hash():
    """As the browser counts it: SHA-256 in base64."""
    assert style_hash("") == "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
