"""The console script: exit codes, one JSON document, and what a mistake looks like."""

import json
import subprocess
import sys

import pytest

from catena.cli import main
from catena.cli.output import Output
from tables import vote, write_votes

TASK = "instruction: q\nlabels: [against, favor]\nchain: [{name: gpt, kind: openai, model: gpt-4o-mini}]\n"
HEAVY = ("numpy", "pyarrow", "pyreqwest", "jinja2", "rich", "yaml", "pandas", "polars", "asyncio", "sqlite3")


def no_constant(name):
    """Refuse what is no JSON."""
    pytest.fail(f"{name} is no JSON")


@pytest.fixture
def run(capsys):
    """Run a line; returns its exit code, stdout and stderr."""

    def line(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return line


@pytest.fixture
def votes(tmp_path):
    """Two links about two items, without gold: every accuracy is unknown."""
    rows = [vote(item, link, confidence=0.5) for item in "ab" for link in ("small", "big")]
    return write_votes(tmp_path / "votes", rows)


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A task and data whose only link has no key."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / "task.yaml").write_text(TASK)
    (tmp_path / "data.csv").write_text("text\nhello\n")
    return tmp_path / "task.yaml", tmp_path / "data.csv"


@pytest.fixture
def broken(monkeypatch):
    """A fault of ours inside a command."""

    def fail(*_):
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr("catena.task.load_task", fail)


class TestExitCodes:
    """0 finished, 2 wrong usage or input, 3 stopped but resumable, 1 any other error."""

    def test_what_finishes_is_0(self, run, votes):
        """A command that did its work."""
        assert run("simulate", votes, "--chain", "small,big")[0] == 0

    def test_a_fault_of_ours_is_1(self, run, broken):
        """Anything that is no CatenaError, in one line without a traceback."""
        code, out, err = run("run", "t", "d", "--out", "o")
        assert (code, out) == (1, "")
        assert err == "catena: internal error: ZeroDivisionError: of ours (--debug shows where)\n"

    @pytest.mark.parametrize(
        ("line", "says"),
        [
            (["nope"], "No such command 'nope'. Commands: demo, init,"),
            (["rum"], "Did you mean 'run'?"),
            (["run"], "Missing argument 'TASK'. Usage: catena run [OPTIONS] TASK DATA"),
            (
                ["run", "t", "d"],
                "Missing option '--out'. Folder of the run; the same command resumes it. Usage:",
            ),
            (["simulate", "x", "--permutations", "two"], "'two' is not a valid integer"),
            (["simulate", "x"], "simulate needs either --chain"),
            (["status", "x", "--nope"], "No such option"),
            (["run", "missing.yaml", "d.csv", "--out", "o"], "missing.yaml: can't read the task file"),
            ([], "which command?"),
        ],
    )
    def test_wrong_usage_is_2(self, run, line, says):
        """Unknown commands and options, missing arguments, missing files; the last line says which."""
        code, out, err = run(*line)
        assert (code, out) == (2, "")
        assert says in err.splitlines()[-1]

    def test_a_stop_is_3(self, run, task, tmp_path):
        """A link without a key stops a run, and the same command resumes it."""
        code, out, err = run("run", *task, "--out", tmp_path / "out")
        assert (code, out) == (3, "")
        assert "there is no key in OPENAI_API_KEY" in err

    @pytest.mark.parametrize("error", [KeyboardInterrupt, EOFError])
    def test_an_interrupt_is_3(self, run, monkeypatch, error):
        """Ctrl-C, also at a question, is a stop."""

        def stop(*_):
            raise error

        monkeypatch.setattr("catena.task.load_task", stop)
        code, _, err = run("run", "t", "d", "--out", "o")
        assert code == 3
        assert err.strip().startswith("catena: stopped.")


class TestJson:
    """With --json stdout is exactly one JSON document."""

    @pytest.mark.parametrize("at", range(5))
    def test_the_flag_may_stand_anywhere(self, run, votes, at):
        """Before, between or after command, arguments and options; unknown figures are null, never NaN."""
        line = ["simulate", str(votes), "--chain", "small,big"]
        line.insert(at if at != 3 else 4, "--json")
        code, out, _ = run(*line)
        found = json.loads(out, parse_constant=no_constant)
        assert code == 0
        assert found["aggregates"]["last"]["accuracy"] is None

    @pytest.mark.parametrize(
        ("line", "code"),
        [
            (["nope"], 2),
            ([], 2),
            (["run", "missing.yaml", "d.csv", "--out", "o"], 2),
            (["simulate", "missing", "--chain", "a"], 2),
            (["simulate", "bad\udcff", "--chain", "a"], 2),
        ],
    )
    def test_an_error_is_a_document_too(self, run, line, code):
        """It holds what stderr says, and the exit code; a path need not be Unicode."""
        got, out, err = run(*line, "--json")
        found = json.loads(out, parse_constant=no_constant)
        assert got == found["exit_code"] == code
        assert err.endswith(f"catena: {found['error']}\n")

    def test_a_fault_of_ours_is_a_document_too(self, run, broken):
        """Scripts need not read stderr to learn of a crash."""
        _, out, _ = run("run", "t", "d", "--out", "o", "--json")
        assert json.loads(out) == {
            "error": "internal error: ZeroDivisionError: of ours (--debug shows where)",
            "exit_code": 1,
        }

    def test_a_failed_check_is_one_document(self, run, task):
        """A check that finds a link without an answer says so in its document, and ends with 1."""
        code, out, _ = run("check", *task, "--json")
        assert code == 1
        assert json.loads(out, parse_constant=no_constant)["links"][0]["answered"] is False

    @pytest.mark.parametrize("line", [["--help"], ["--version"], ["run", "--help"]])
    def test_help_goes_to_stderr(self, run, line):
        """What is for people is not mixed into the document."""
        code, out, err = run(*line, "--json")
        assert (code, json.loads(out)) == (0, {})
        assert "catena" in err

    def test_after_two_dashes_it_is_an_argument(self, run):
        """`--` ends the options, as everywhere."""
        code, out, err = run("status", "--", "--json")
        assert code != 0
        assert out == ""
        assert "--json" in err


class TestDebug:
    """Where an error arose is shown on demand only."""

    @pytest.mark.parametrize(
        "line", [["run", "missing.yaml", "d", "--out", "o"], ["simulate", "x", "--chain", "a"]]
    )
    def test_with_the_flag_there_is_a_traceback(self, run, line):
        """Before the line that says what is wrong."""
        err = run("--debug", *line)[2]
        assert err.startswith("Traceback")
        assert err.splitlines()[-1].startswith("catena: ")

    @pytest.mark.parametrize(
        "line", [["run", "missing.yaml", "d", "--out", "o"], ["simulate", "x", "--chain", "a"]]
    )
    def test_without_it_there_is_one_line(self, run, line):
        """Nothing else on stderr."""
        err = run(*line)[2]
        assert len(err.splitlines()) == 1
        assert "Traceback" not in err

    def test_a_crash_shows_where(self, run, broken):
        """A fault of ours can be reported with its place."""
        assert "ZeroDivisionError: of ours" in run("run", "t", "d", "--out", "o", "--debug")[2].splitlines()


@pytest.mark.parametrize("line", [["--help"], ["--version"], ["run", "--help"], ["nope"]])
def test_help_imports_nothing_heavy(line):
    """Help is quick because it needs only click."""
    code = f"import sys; from catena.cli import main; main({line!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {name.split(".")[0] for name in done.stderr.split()} & set(HEAVY)


def test_help_names_every_command(run):
    """Each with a line that says what it does."""
    code, out, _ = run("--help")
    assert code == 0
    for name in (
        "demo",
        "init",
        "check",
        "run",
        "status",
        "results",
        "evaluate",
        "estimate",
        "simulate",
        "plan",
    ):
        assert f"\n  {name} " in out


def test_a_path_that_is_no_unicode(capsys):
    """Stdout is a JSON document all the same, with the numbers of such bytes."""
    Output(json=True).result({"run": "caf\udce9", "links": [{"\udcff": ["a", "\udce9"]}], "n": 1})
    told = json.loads(capsys.readouterr().out)
    assert told == {"run": "caf\\udce9", "links": [{"\\udcff": ["a", "\\udce9"]}], "n": 1}
