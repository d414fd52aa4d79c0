"""Whatever is in a task file, in the rows or in an answer: rows, a label, a typed failure or one clear line."""

import asyncio
import gzip
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from odd_server import OddServer, completion
from soak import figure, many

from catena.errors import CatenaError, LinkError
from catena.links import open_link
from catena.task import parse_task
from catena.types import REASONS, Failure, Vote
from chains import LABELS, chain_task, finish, openai, start

EACH = many(200, 2_000)  # of each of five kinds
THROUGH_THE_COMMAND = many(2, 12)  # of each kind of file
TRIED = Counter()

TASK = """\
name: stance
instruction: What does it say about {{ target }}?
labels: {favor: supports it, against: opposes it, none: neither}
data: {text: text, id: id, target: target, gold: gold}
chain:
  - {name: local, kind: replay, votes: votes}
  - {name: mini, kind: openai, model: gpt-4o-mini, price: {input: 0.15, output: 0.6}}
policy: {share: [0.5, "1/2"]}
aggregate: rank
seed: 7
max_chars: 100
budget: {usd: 3.5}
"""
COLUMNS = {
    "id": ["1", "2", "3", "4"],
    "text": ["one, two", 'a "quoted" text', "", "🙂 three\nlines"],
    "target": ["x", "y", None, "z"],
    "gold": ["favor", "against", "none", None],
}
PIECES = [
    "\0", "\ufeff", "\r", "\n", "\r\n", "\t", '"', "'", ",", ":", "{", "}", "[", "]", "- ", "#", "&a", "*a", "!!python/name:os",
    "!!int", "|", ">", "%", "@", "`", "---", "...", "? ", "<<: *a", "{{", "}}", "{%", "%}", "\\", "\\u", "\\ud800", "1e999", "9" * 40,
    "null", "~", "yes", "NaN", "-0", "\u2028", "\u202e", "é", "e\u0301", "🙂", "\x85", "x" * 5000,
]  # fmt: skip


def spoiled_text(draw, text):
    """Return text with some pieces put in, taken out, doubled or swapped."""
    for _ in range(draw.randint(1, 4)):
        at, to = sorted((draw.randint(0, len(text)), draw.randint(0, len(text))))
        to = min(to, at + draw.choice([0, 1, 3, 30]))
        change = draw.randint(0, 3)
        piece = (
            draw.choice(PIECES) if change < 2 else "" if change == 2 else text[at:to] * draw.choice([2, 40])
        )
        text = text[:at] + piece + text[to:]
    return text


def spoiled_bytes(draw, content):
    """Return bytes with some of them changed, cut off or put in."""
    content = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(content)) if content else 0
        change = draw.randint(0, 3)
        if change == 0 and content:
            content[at] ^= 1 << draw.randint(0, 7)
        elif change == 1:
            del content[at:]
        elif change == 2:
            content[at:at] = draw.randbytes(draw.choice([1, 2, 8]))
        else:
            content[at : at + draw.choice([1, 4, 16])] = b""
    return bytes(content)


def csv_text():
    """Return the rows as CSV."""
    import csv
    import io

    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    writer.writerows(zip(*COLUMNS.values(), strict=True))
    return file.getvalue()


def json_lines():
    """Return the rows as JSONL."""
    rows = zip(*COLUMNS.values(), strict=True)
    return "".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows)


def spoil(kind, draw, folder):
    """Write one spoiled file of a kind and return its path."""
    path = folder / f"rows.{kind}"
    if kind in {"csv", "jsonl"}:
        text = csv_text() if kind == "csv" else json_lines()
        content = spoiled_text(draw, text).encode("utf-8", "surrogatepass")
        content = content if draw.random() < 0.7 else spoiled_bytes(draw, content)
        if draw.random() < 0.1:
            path = folder / f"rows.{kind}.gz"
            content = spoiled_bytes(draw, gzip.compress(content, mtime=0))
    else:
        pq.write_table(pa.table(COLUMNS), path, compression=draw.choice(["none", "zstd", "snappy"]))
        content = spoiled_bytes(draw, path.read_bytes())
    path.write_bytes(content)
    return path


def fine_line(error):
    """Say whether an error is one clear line."""
    line = str(error)
    return 10 < len(line) < 4000 and len(line.splitlines()) == 1


def said():
    """Keep the figure."""
    figure("bad input", f"{TRIED.total():,} spoiled inputs ({', '.join(f'{n:,} {what}' for what, n in TRIED.items())}): "
           "each gave rows, an answer or one clear line; 0 tracebacks, 0 hangs")  # fmt: skip


READER = """
import json, sys
from pathlib import Path
from catena.errors import DataError
from catena.data.rows import read_rows
from catena.task import Columns

columns = Columns("text", "id", "target", "gold")
for name in Path(sys.argv[1]).read_text().splitlines():
    print(json.dumps([name, "begins"]), flush=True)
    try:
        rows = read_rows(Path(name), columns, ["favor", "against", "none"])
        found = sum(len(block) for block in rows)
        print(json.dumps([name, "rows" if found == rows.count else "rows lost"]), flush=True)
    except DataError as error:
        print(json.dumps([name, str(error)]), flush=True)
"""


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_rows(tmp_path, kind):
    """A spoiled file gives rows or one line; it is read in a process of its own, which a crash of a library would end."""
    draw = random.Random(kind)
    names = []
    for at in range(EACH):
        (tmp_path / str(at)).mkdir()
        names.append(str(spoil(kind, draw, tmp_path / str(at))))
    (tmp_path / "names").write_text("\n".join(names))
    command = [sys.executable, "-c", READER, str(tmp_path / "names")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (found[-1], done.stderr)
    outcomes = {name: outcome for name, outcome in found if outcome != "begins"}
    assert outcomes.keys() == set(names)
    assert [x for x in outcomes.items() if x[1] != "rows" and not fine_line(x[1])] == []
    assert len(set(outcomes.values())) > EACH / 20  # not all the same
    TRIED[kind] += EACH
    said()


def test_task_files():
    """A spoiled task file is a task or one line that begins with the file's name."""
    draw = random.Random(1)
    refusals = []
    for _ in range(EACH):
        text = spoiled_text(draw, TASK)
        try:
            task = parse_task(text, "t.yaml")
            assert len(task.labels) >= 2
        except CatenaError as error:
            refusals.append(error)
    assert [
        error for error in refusals if not fine_line(error) or not str(error).startswith("t.yaml: ")
    ] == []
    assert len(refusals) > EACH / 10
    TRIED["task files"] += EACH
    said()


ODD_BODIES = (
    b"", b"null", b"[]", b"{}", b"0", b'"favor"', b"[" * 100_000, b'{"choices": null}', b'{"choices": []}', b'{"choices": [null]}',
    b'{"choices": [{"message": null}]}', b'{"choices": [{"message": {"content": 7}}]}', b"\xff\xfe", b"<html>", b"favor",
    b'{"choices": [{"message": {"content": "favor\\ud800"}}]}', completion("favor", logprobs={"content": [{"token": "f", "logprob": None}]}),
    completion("favor", logprobs={"content": [{"token": "favor", "logprob": 5.0, "top_logprobs": []}]}),
    completion("favor", logprobs={"content": [{"token": "favor", "logprob": -1e400, "bytes": [999]}]}),
    completion("favor", finish_reason=None), completion("favor", finish_reason=7), completion("\0favor"), completion("favor" * 100_000),
)  # fmt: skip


def test_answers():
    """A spoiled body or status is a vote with one of the labels, or a failure with a reason in one line."""
    draw = random.Random(2)
    good = completion(
        "favor",
        logprobs={
            "content": [
                {
                    "token": "fav",
                    "logprob": -0.1,
                    "bytes": [102, 97, 118],
                    "top_logprobs": [{"token": "ag", "logprob": -2.5}],
                },
                {"token": "or", "logprob": -0.01, "bytes": None, "top_logprobs": []},
            ]
        },
    )
    statuses = [200] * 12 + [201, 204, 206, 302, 400, 404, 408, 413, 418, 422, 429, 500, 502, 503, 529, 599]
    waits = ["1", "-1", "soon", "1e999", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999999999999", ""]
    bodies, refusals = list(ODD_BODIES), []

    def answer(headers, body):
        said = bodies.pop() if bodies else spoiled_bytes(draw, good)
        status = 200 if bodies else draw.choice(statuses)
        return (
            status,
            {"retry-after": draw.choice(waits)} if status != 200 else {},
            b"" if status == 204 else said,
        )

    async def ask_all(link):
        try:
            for at in range(EACH):
                try:
                    (got,) = await link.ask([f"What? {at}"])
                except LinkError as error:
                    refusals.append(error)
                    continue
                if isinstance(got, Vote):
                    assert got.label in LABELS
                    assert got.confidence is None or 0 <= got.confidence < float("inf")
                else:
                    assert isinstance(got, Failure)
                    assert got.reason in REASONS
                    assert got.message
                    assert "\n" not in got.message
                    assert got.retry_after is None or 0 <= got.retry_after < float("inf")
        finally:
            await link.close()

    with OddServer(answer) as server:
        task = chain_task(openai(server, "odd", timeout=5.0))
        asyncio.run(asyncio.wait_for(ask_all(open_link(task.chain[0], task)), 600))
        assert len(server.requests) == EACH
    assert [error for error in refusals if not fine_line(error)] == []
    TRIED["answers"] += EACH
    said()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "yaml"])
def test_through_the_command(tmp_path, kind):
    """`catena run` ends with 0, 2 or 3 and one line that says why, never with a traceback or an internal error."""
    draw = random.Random(f"command {kind}")
    for _ in range(THROUGH_THE_COMMAND):
        task, rows = tmp_path / "task.yaml", tmp_path / "rows.csv"
        task.write_text(TASK)
        rows.write_text(csv_text())
        if kind == "yaml":
            task.write_bytes(spoiled_text(draw, TASK).encode("utf-8", "surrogatepass"))
        else:
            rows = spoil(kind, draw, tmp_path)
        code, _, err = finish(start("run", task, rows, "--out", tmp_path / "r", OPENAI_API_KEY=""))
        assert code in {2, 3}, err  # there are no recorded votes, so none can finish
        assert "Traceback" not in err
        assert "internal error" not in err
        assert len([line for line in err.splitlines() if line.startswith("catena: ")]) == 1
    TRIED["commands"] += THROUGH_THE_COMMAND
    said()
    assert not Path(tmp_path / "r" / "labels.parquet").exists()
