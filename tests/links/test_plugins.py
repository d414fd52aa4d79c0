"""Plug-ins: a package brings a kind of link by an entry point, and only what a task names is imported."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from catena.errors import TaskError
from catena.links import open_link
from catena.task import parse_task
from catena.types import Item, Vote
from chains import rows_of, start

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text("utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(PROJECT,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
(TASK,) = re.findall(r"```yaml task\n(.*?)```", PAGE, re.DOTALL)
LINK, PROOF, POLICY = PYTHON
ALONE = re.sub(r"\n  - \{name: mini.*", "", TASK)
TEXTS = ["The bins are full.", "A tap leaks.", "Rubbish everywhere!", "Nothing to see."]


def install(target, project, **modules):
    """Put a package where pip would: its modules, and a dist-info with the entry points of its project file."""
    named = tomllib.loads(project)["project"]
    for module, text in modules.items():
        (target / f"{module}.py").write_text(text, "utf-8")
    info = target / f"{named['name'].replace('-', '_')}-{named['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {named['name']}\nVersion: {named['version']}\n"
    )
    lines = [
        line
        for group, entries in named["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def project(name, **entries):
    """Return a project file with these entry points."""
    points = "\n".join(f'{kind} = "{value}"' for kind, value in entries.items())
    return f'[project]\nname = "{name}"\nversion = "1.0"\n[project.entry-points."catena.links"]\n{points}\n'


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder on the path; what is imported from it is forgotten afterwards."""
    folder = tmp_path / "packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    importlib.invalidate_caches()


def opened(text):
    """Return the first link of a task."""
    task = parse_task(text)
    return open_link(task.chain[0], task)


def test_the_documented_package_runs_in_a_chain(tmp_path):
    """Installed as pip would, without a change to anything else, it labels in a process of its own."""
    target = tmp_path / "packages"
    target.mkdir()
    install(target, PROJECT, keyword_link=LINK)
    mark = tmp_path / "imported"
    spy = f"open({str(mark)!r}, 'w').close()\n"
    install(target, project("spy", other="spy:open_link", openai="spy:open_link"), spy=spy)
    (tmp_path / "task.yaml").write_text(ALONE, "utf-8")
    rows_of(TEXTS).to_csv(tmp_path / "rows.csv", index=False)
    process = start(
        *("--json", "run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "r"),
        PYTHONPATH=f"{target}:{Path(__file__).parents[2] / 'src'}",
    )
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, out + err
    labels = pq.read_table(tmp_path / "r" / "labels.parquet").to_pylist()
    assert [row["label"] for row in labels] == ["waste", "water", "waste", None]
    assert labels[3]["reason"] == "link 'rules': none of the words is in the text"
    assert not mark.exists()  # of the plug-ins that are installed, only the named one ran


def test_the_documented_proof_holds(packages):
    """`check_link` passes, and so does the check of a policy."""
    install(packages, PROJECT, keyword_link=LINK)
    for text in (PROOF, POLICY):
        names = {}
        exec(compile(text, "plugins.md", "exec"), names)
        checks = [test for name, test in names.items() if name.startswith("test_")]
        assert len(checks) == 1
        checks[0]()


def test_the_documented_link_is_short():
    """As the page promises, less what is blank or a comment."""
    lines = [line for line in LINK.splitlines() if line.strip() and not line.strip().startswith(("#", '"""'))]
    assert len(lines) <= 32


def test_wrong_options_are_named(packages):
    """A plug-in's options are refused as the house's own are."""
    install(packages, PROJECT, keyword_link=LINK)
    with pytest.raises(TaskError, match=r"link 'rules': unknown key 'wrods'. Did you mean 'words'"):
        opened(ALONE.replace("words:", "wrods:"))


def test_what_is_not_named_is_not_imported(packages):
    """Neither another kind nor one that wants to be the house's."""
    install(
        packages,
        project("spy", other="spy:open_link", embedding="spy:open_link"),
        spy="raise SystemExit(9)\n",
    )
    with pytest.raises(TaskError, match=r"unknown kind 'keywords'. Kinds: anthropic, embedding, .*other"):
        opened(ALONE)
    opened("instruction: a\nlabels: [a, b]\nchain: [{name: a, kind: embedding}]")
    assert "spy" not in sys.modules


FAULTS = {
    "raises": ("1 / 0\n", "ok:open_link", r"kind 'keywords' of bad 1.0 can't be imported: ZeroDivisionError"),
    "misses": ("import no_such_module_anywhere\n", "ok:open_link", "ModuleNotFoundError.*no_such_module_anywhere"),
    "lacks": ("", "ok:open_link", "AttributeError"),
    "no function": ("open_link = 3\n", "ok:open_link", "is no function that opens links.*my_package:open_link"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_plugin_is_one_line(packages, fault):
    """That names link, kind and package."""
    text, value, said = FAULTS[fault]
    module = f"broken_{fault.replace(' ', '_')}"
    install(packages, project("bad", keywords=value.replace("ok", module)), **{module: text})
    with pytest.raises(TaskError, match=said) as error:
        opened(ALONE)
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith("link 'rules': ")


def test_two_packages_with_one_kind_are_refused(packages):
    """Which one is meant can't be told; both are named, and neither is imported."""
    install(packages, project("one", keywords="first:open_link"), first="raise SystemExit(9)\n")
    install(packages, project("two", keywords="second:open_link"), second="raise SystemExit(9)\n")
    with pytest.raises(TaskError, match=r"brought by several packages: .*one 1.0.*Uninstall all but one"):
        opened(ALONE)


def test_a_plugin_may_share_a_task(packages):
    """Links of plug-ins and of the house stand in one chain."""
    install(packages, PROJECT, keyword_link=LINK)
    task = parse_task(TASK)
    rules, mini = (open_link(spec, task) for spec in task.chain)
    assert rules.render(Item(0, "a", "Bins")) == "bins"
    assert mini.capabilities.model == "gpt-4o-mini"
    assert isinstance(rules.label("a bin"), Vote)


def test_help_looks_for_no_plugin():
    """Starting the program reads no package's entry points."""
    seen = "import sys, catena.cli.main; print('importlib.metadata' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True)
    assert said.stdout == "False\n", said
