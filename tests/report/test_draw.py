"""Pictures: what gets into a page, and where words stand."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catena.report.charts import distinct
from catena.report.colours import colour, follow_the_page
from catena.report.draw import cleaned
from catena.report.flow import flow
from catena.report.places import HEIGHT_OF_A_LINE, TRIED, WIDTH_OF_A_LETTER, placed

HOSTILE = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" onload="alert(1)" style="x">
<script>alert(1)</script><style>*{}</style><a href="javascript:alert(1)"><text>in a link</text></a>
<foreignObject><p xmlns="http://www.w3.org/1999/xhtml">x</p></foreignObject><image href="http://x.invalid/a.png"/>
<set attributeName="href" to="javascript:alert(1)"/><use xlink:href="#x"/>
<g onclick="alert(1)" clip-path="url(#c)" fill="url(http://x.invalid)"><text fill="#1d1c1a" aria-label="z">kept &lt;b&gt;</text></g>
<defs><clipPath id="c"><rect width="1" height="1"/></clipPath></defs></svg>"""


def test_only_what_draws_gets_into_a_page():
    """No script, style, link, event, address or foreign element; ids and their uses get the picture's prefix."""
    found = cleaned(HOSTILE, "p-", 'a "label"')
    for odd in (
        "script",
        "style",
        "href",
        "onload",
        "onclick",
        "foreign",
        "image",
        "http:",
        "in a link",
        "javascript",
        "use",
        "set ",
    ):
        assert odd not in found.replace('xmlns="http://www.w3.org/2000/svg"', ""), odd
    assert 'clip-path="url(#p-c)"' in found
    assert 'id="p-c"' in found
    assert 'fill="none"' in found
    assert "kept &lt;b&gt;" in found
    assert 'aria-label="a &quot;label&quot;"' in found


def test_pictures_follow_the_page():
    """Each colour of a picture has a rule that turns it into the reader's."""
    assert f'[fill="{colour("c1")}"] {{ fill: var(--c1); }}' in follow_the_page()
    assert f'[stroke="{colour("ink")}"] {{ stroke: var(--ink); }}' in follow_the_page()


def test_names_stay_different_when_they_are_cut():
    """Two labels are never drawn as one."""
    names = distinct(["x" * 60, "x" * 61, "x" * 62, "short"], 20)
    assert len(set(names)) == 4
    assert all(len(name) <= 20 for name in names)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=4),
)
def test_names_of_few_points_stay_in_the_picture(points):
    """Up and down always; and a name has one of the places that are tried."""
    named = [(x, y, "a name") for x, y in points]
    for (_, y), place in zip(points, placed(named, (0, 1), (0, 1), (600, 300)), strict=True):
        assert place in TRIED
        assert -HEIGHT_OF_A_LINE <= (1 - y) * 300 + place.dy <= 300 + HEIGHT_OF_A_LINE


def test_names_of_near_points_do_not_overlap():
    """Two points beside each other: one name goes another way."""
    points = [(0.5, 0.5, "the first"), (0.53, 0.5, "the second")]
    one, two = placed(points, (0, 1), (0, 1), (600, 300))
    assert one != two
    assert WIDTH_OF_A_LETTER * len("the first") > 0.03 * 600  # they would have


def link(name, received, kept, failed=0, cost=None):
    """Return what a flow picture needs of a link."""
    return {"link": name, "model": "m", "received": received, "kept": kept, "forwarded": received - kept,
            "failed": failed, "cost_usd": cost}  # fmt: skip


def facts(*links, n=100, finished=True):
    """Return what a flow picture needs of a run."""
    return {"run": {"n": n, "links": list(links)}, "finished": finished}


def test_the_flow_says_what_each_link_did():
    """Received, kept, forwarded, failed and cost of each."""
    found = flow(facts(link("small", 100, 60, 3, 0.5), link("big", 40, 40, 0, 12.0)))
    for word in (">100<", ">60<", ">40<", ">3<", "$0.5000", "$12.00", "60 (60.0%)"):
        assert word in found, word


@pytest.mark.parametrize(
    ("links", "n"),
    [
        ([link("only", 5, 5)], 5),
        ([link("a", 100, 0), link("b", 100, 0), link("c", 100, 100)], 100),
        ([link("a", 0, 0)], 100),
        ([link("a", 1_000_000, 999_999), link("b", 1, 1)], 1_000_000),
        ([link(f"link{at}", 100 - at, 1) for at in range(12)], 100),
    ],
)
def test_a_flow_of_any_shape_is_a_picture(links, n):
    """One link, links that keep nothing, bands as thin as one item, a dozen links."""
    found = cleaned(flow(facts(*links, n=n)), "f-", "the chain")
    assert "nan" not in found
    assert 'height="-' not in found


def test_words_on_the_right_do_not_overlap():
    """Thin bands are close to each other, their words are not."""
    import re

    found = flow(facts(*[link(f"link{at}", 1000 - at, 1) for at in range(6)], n=1000))
    places = [
        float(y) for y in re.findall(r'<text x="[\d.]+" y="([\d.]+)" font-weight="600"[^>]*>link\d', found)
    ]
    assert len(places) == 6
    assert all(b - a >= 30 for a, b in itertools.pairwise(places))
