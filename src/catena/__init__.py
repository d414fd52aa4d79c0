"""Label text data sets with a chain of LLMs."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catena.api import annotate

__all__ = ["__version__", "annotate"]

__version__ = "0.1.0"


def __dir__() -> list[str]:
    """Name the public functions before they are imported."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first used."""
    if name == "annotate":
        from catena.api import annotate  # noqa: PLC0415

        return annotate
    raise AttributeError(f"module 'catena' has no attribute {name!r}")
