"""The house: which room may import from which, and what leaks out of it."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import catena

ROOMS = (
    "errors", "types", "yaml_text", "confidence", "routing", "aggregate", "task", "data", "vectors", "prompts", "ledger", "links", "engine",
    "evaluate", "report", "web", "api", "demo", "cli", "testing",
)  # fmt: skip
SOURCE = Path(catena.__file__).parent
MODULES = sorted(module.name for module in pkgutil.walk_packages([str(SOURCE)], "catena."))


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms that a file imports from."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("catena."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("catena.")}
    return names


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_room_imports_only_from_rooms_above_it(path):
    """The order of the rooms is the order of what may know of what."""
    parts = path.relative_to(SOURCE).parts
    room = parts[0].removesuffix(".py")
    if room == "__init__":
        return
    below = {other for other in imported_rooms(path) if ROOMS.index(other) > ROOMS.index(room)}
    assert not below


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_exports_is_there(name):
    """Every name in `__all__` exists."""
    module = importlib.import_module(name)
    missing = [each for each in getattr(module, "__all__", []) if not hasattr(module, each)]
    assert not missing


@pytest.mark.parametrize("room", ["confidence", "routing", "aggregate"])
def test_deciding_knows_no_clock_and_no_network(room):
    """Confidence, routing and aggregation are functions over arrays."""
    forbidden = {
        "time",
        "datetime",
        "asyncio",
        "socket",
        "os",
        "pathlib",
        "random",
        "sqlite3",
        "pyreqwest",
        "subprocess",
    }
    for path in (SOURCE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not forbidden & {name.split(".")[0] for name in names}, path
