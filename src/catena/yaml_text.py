"""YAML text as plain data: safely, each key once, and labels spelled as they were written."""

from typing import Any

import yaml

from catena.errors import TaskError

__all__ = ["read_yaml"]

MOST_NODES = 1_000_000  # of a task file with its aliases written out

KEPT = frozenset({"labels", "examples", "abstain", "class-aware", "pilot"})
"""Keys under which scalars keep their spelling: yes, no, none, 1."""


def read_yaml(text: str, where: str) -> Any:
    """Parse the mapping of a task file safely; what stands under KEPT keeps its spelling (yes, no, none, 1).

    Raises:
        TaskError: It is no YAML, or no mapping; `where` begins the message.
    """
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            raise TaskError(f"{where}: the task file is empty.", "Write one with: catena init DATA")  # noqa: TRY301
        _refuse_too_much(node, where)
        _refuse_twice(node, where)
        _keep_spelling(node)
        value = loader.construct_document(node)
    except TaskError:
        raise
    except Exception as error:  # a wrong scalar after a tag (!!int x) makes PyYAML raise nearly anything
        place = getattr(error, "problem_mark", None)
        line = f" line {place.line + 1}:" if place else ""
        problem = getattr(error, "problem", None) or str(error) or type(error).__name__
        raise TaskError(
            f"{where}:{line} not valid YAML: {' '.join(str(problem).split()).rstrip('.')}."
        ) from error
    if not isinstance(value, dict):
        raise TaskError(f"{where}: a task file is a mapping of keys, not a {type(value).__name__}.")
    return value


def _refuse_too_much(node: yaml.Node, where: str) -> None:
    """Refuse aliases that contain themselves or, written out, would fill the memory; see to it that text is Unicode."""
    sizes: dict[int, int] = {}

    def size(here: yaml.Node) -> int:
        if id(here) not in sizes:
            sizes[id(here)] = MOST_NODES  # what it counts for inside itself
            if isinstance(here, yaml.ScalarNode):
                here.value = _unicode(here, where)
            inside = here.value if isinstance(here, yaml.CollectionNode) else ()
            parts = [part for entry in inside for part in (entry if isinstance(entry, tuple) else (entry,))]
            sizes[id(here)] = 1 + sum(map(size, parts))
        return sizes[id(here)]

    if size(node) > MOST_NODES:
        raise TaskError(f"{where}: its aliases (*name) make it too large or endless.", "Write them out.")


def _unicode(scalar: yaml.ScalarNode, where: str) -> str:
    """Join the halves of characters that JSON writes as two escapes; half of one is no text."""
    try:
        return str(scalar.value).encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        line = scalar.start_mark.line + 1
        raise TaskError(
            f"{where}: line {line}: an escape is half a character.", "Write the character."
        ) from None


def _refuse_twice(node: yaml.Node, where: str) -> None:
    todo, done = [node], set[int]()
    while todo:
        here = todo.pop()
        if id(here) in done:
            continue
        done.add(id(here))
        if isinstance(here, yaml.MappingNode):
            seen = set()
            for key, value in here.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise TaskError(f"{where}: line {line}: a key must be a plain word.")
                if key.value in seen:
                    raise TaskError(
                        f"{where}: line {line}: the key '{key.value}' is there twice.", "Keep one of them."
                    )
                seen.add(key.value)
                todo.append(value)
        elif isinstance(here, yaml.SequenceNode):
            todo.extend(here.value)


def _keep_spelling(node: yaml.Node) -> None:
    """Retag scalars under the keys in KEPT, at any depth, as text."""
    todo, done = [(node, False)], set[tuple[int, bool]]()
    while todo:
        here, text = todo.pop()
        if (id(here), text) in done:
            continue
        done.add((id(here), text))
        if isinstance(here, yaml.ScalarNode):
            here.tag = "tag:yaml.org,2002:str" if text else here.tag
        elif isinstance(here, yaml.SequenceNode):
            todo.extend((value, text) for value in here.value)
        elif isinstance(here, yaml.MappingNode):
            todo.extend((key, text) for key, _ in here.value)
            todo.extend((value, text or key.value in KEPT) for key, value in here.value)
