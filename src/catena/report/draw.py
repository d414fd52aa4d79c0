"""Charts become SVG and PNG, offline; SVG becomes part of a page only after it is taken apart and put together anew."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from catena.errors import MissingExtraError

__all__ = ["cleaned", "need_extra", "png", "svg"]

SVG = "http://www.w3.org/2000/svg"
DRAWN = frozenset({"svg", "g", "path", "rect", "line", "circle", "text", "tspan", "title", "defs", "clipPath", "linearGradient", "stop"})  # fmt: skip
GIVEN = frozenset({
    "width", "height", "viewBox", "d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "ry", "dx", "dy", "transform", "fill",
    "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linecap", "stroke-linejoin",
    "stroke-miterlimit", "opacity", "text-anchor", "dominant-baseline", "font-family", "font-size", "font-weight", "font-style",
    "clip-path", "id", "offset", "stop-color", "stop-opacity", "role", "aria-label",
})  # fmt: skip
REFERENCE = re.compile(r"url\(#([\w-]+)\)\Z")
SCALE = 2  # pixels of a PNG for each unit of the SVG


def need_extra() -> None:
    """See that charts can be drawn.

    Raises:
        MissingExtraError: altair or vl-convert is not installed.
    """
    if any(find_spec(name) is None for name in ("altair", "vl_convert")):
        raise MissingExtraError("The report", "report")


def svg(chart: Mapping[str, Any]) -> str:
    """Draw a Vega-Lite chart whose data is in it; nothing is fetched."""
    import vl_convert  # noqa: PLC0415 - an extra

    return str(vl_convert.vegalite_to_svg(dict(chart), allowed_base_urls=[]))


def png(picture: str) -> bytes:
    """Return an SVG as PNG, two pixels for each of its units."""
    import vl_convert  # noqa: PLC0415 - an extra

    return bytes(vl_convert.svg_to_png(picture, scale=SCALE))


def cleaned(picture: str, prefix: str, label: str) -> str:
    """Return an SVG for a page: what draws and nothing else, whatever stood in it; no style, script, link or event.

    Args:
        picture: A whole SVG document.
        prefix: Begins every id in it, since a page has several pictures.
        label: What it shows, for those who don't see it.
    """
    ET.register_namespace("", SVG)
    root = ET.fromstring(picture)  # noqa: S314 - our own drawing, without entities
    _clean(root, prefix)
    root.set("role", "img")
    root.set("aria-label", label)
    return ET.tostring(root, "unicode")


def _clean(element: ET.Element, prefix: str) -> None:
    for name in list(element.attrib):
        value = element.attrib[name]
        if name not in GIVEN or name in {"role", "aria-label"}:
            del element.attrib[name]
        elif name == "id":
            element.set(name, prefix + value)
        elif "url(" in value:
            found = REFERENCE.match(value)
            element.set(name, f"url(#{prefix}{found[1]})" if found else "none")
    for child in list(element):
        name = str(child.tag).removeprefix(f"{{{SVG}}}")
        invisible = child.get("display") == "none" or (
            name == "path" and child.get("d") in {"", "M0,0h0v0h0Z"}
        )
        if name not in DRAWN or not str(child.tag).startswith(f"{{{SVG}}}") or invisible:
            element.remove(child)
        else:
            _clean(child, prefix)
