"""Pages are filled by templates that escape whatever comes from a run: texts, labels, names, answers are hostile."""

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

import jinja2

from catena.report.words import count, figure, lasting, moment, money, share, shown

__all__ = ["environment", "look", "style_hash"]


def environment(packages: Sequence[str] = ("catena.report",)) -> jinja2.Environment:
    """Return what renders the templates in the folders `templates` of these packages, the first one first.

    Everything is escaped whatever a template is called, an undefined name is an error. Values stand in text or in quoted
    attributes only: never in a tag, a script, a style or an address. Filters: the
    functions of `words`.
    """
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {each.__name__: each for each in (money, count, share, figure, shown, moment, lasting)}
    return made


@lru_cache(maxsize=1)
def look() -> str:
    """Return the style sheet that the report and the live page share."""
    return files("catena.report").joinpath("look.css").read_text("utf-8")


def style_hash(style: str) -> str:
    """Return how a content security policy names a `<style>` with this content, so that it allows no other."""
    return f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}"
