"""What the benchmarks have in common: costs of processes, medians, tables."""

import sys

import pytest

from measure import Cost, machine, median, processor, run, table

BURN = "import time; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass"


def test_a_command_costs_its_own_cpu_time_and_its_childrens():
    """CPU seconds of a process tree are those of every process that was waited for."""
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}], check=True)"
    cost, _ = run([sys.executable, "-c", f"{BURN}\n{child}"])
    assert cost.cpu >= 0.4
    assert cost.cpu == cost.user + cost.system
    assert cost.wall > 0.2


def test_a_command_gives_its_output_and_its_peak_memory():
    """Standard output comes back as text; memory is in MB and has at least what was filled."""
    cost, said = run([sys.executable, "-c", "held = bytearray(b'1' * (300 << 20)); print('done')"])
    assert said == "done\n"
    assert cost.peak >= 300


def test_a_command_that_fails_ends_the_benchmark_with_what_it_said():
    """A failure is one line with the exit code and the last lines of standard error."""
    with pytest.raises(SystemExit, match=r"ended with 3: first / last$"):
        run([sys.executable, "-c", "import sys; print('first\\nlast', file=sys.stderr); sys.exit(3)"])


def test_a_median_is_taken_figure_by_figure():
    """No run is chosen as a whole."""
    costs = [Cost(1, 30, 2, 100), Cost(2, 10, 3, 300), Cost(3, 20, 1, 200)]
    assert median(costs) == Cost(2, 20, 2, 200)


def test_a_table_is_markdown_with_numbers_to_the_right():
    """The first column is a name, the others are figures."""
    lines = table([{"tool": "a", "calls": "1"}, {"tool": "b", "calls": "20"}]).splitlines()
    assert lines == ["| tool | calls |", "| --- | ---: |", "| a | 1 |", "| b | 20 |"]


def test_the_machine_is_named_by_its_processor(tmp_path):
    """The name is the first one of cpuinfo; without such a file it is unknown, not an error."""
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nmodel name\t: Some CPU: fast\nmodel name\t: Other\n", "utf-8")
    assert processor(path) == "Some CPU: fast"
    assert processor(tmp_path / "absent") == "processor unknown"
    assert processor() in machine()
