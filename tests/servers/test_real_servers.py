"""Real servers over one tiny model: a chain over them, and votes whose probabilities are the model's own.

Heavy, so not part of `make test`: `make test-servers` installs them. README.md says what was run, and when.
"""

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from tiny_chat import LABELS, PROMPT, texts, train

from catena.engine.run import Run
from catena.links import open_link
from catena.types import Vote
from chains import answers_in, chain_task, labels_of, rows_of

PLACE = Path(os.environ.get("CATENA_REAL_SERVERS", "/nowhere"))
TINY = Path(os.environ.get("CATENA_TINY_LLM", "/nowhere"))
SERVERS = ("llama_cpp", "vllm")
GIVEN = (TINY / "model").is_dir()
if GIVEN:  # it knows other questions, and labels of a token each
    LABELS = ("positive", "negative", "neutral")
    PROMPT = (
        "Classify the sentiment of the following text as positive, negative or neutral. Text: {{ text }} "
        "Answer with one word."
    )
COUNT = 24
PATIENCE = 900.0  # seconds for a server to start, on a busy machine
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}

pytestmark = [
    pytest.mark.skipif(not PLACE.is_dir(), reason="make test-servers installs and starts real servers"),
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("torch", "transformers")),
        reason="torch or transformers is not installed",
    ),
    pytest.mark.timeout(3 * PATIENCE),
]


def python_of(server):
    """Return the interpreter of a server's environment; skip where it isn't installed."""
    if not (PLACE / server / ".done").exists():
        pytest.skip(f"{server} could not be installed here")
    return PLACE / server / "bin" / "python"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return the folder of a model: the one that CATENA_TINY_LLM names, or one that is trained now."""
    if GIVEN:
        return TINY / "model"
    return train(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def addresses(model, tmp_path_factory):
    """Return a function that starts a server once and returns its address; all of them end with the tests."""
    logs = tmp_path_factory.mktemp("servers")
    running = {}

    def address(server):
        if server not in running:
            port = free_port()
            running[server] = start(server, model, port, logs), f"http://127.0.0.1:{port}/v1"
        process, found = running[server]
        wait_for(process, found, logs / f"{server}.log")
        return found

    yield address
    for process, _ in running.values():
        end(process)


def start(server, model, port, logs):
    """Start a server over the model, on loopback only, in a process group of its own."""
    python = python_of(server)
    if server == "llama_cpp":
        file = model.parent / "tiny.gguf"
        if not file.exists():
            subprocess.run([python, Path(__file__).parent / "gguf_file.py", model, file], check=True)
        asked = ["llama_cpp.server", "--model", file, "--model_alias", "tiny", "--n_ctx", "512"]
        asked += ["--logits_all", "true", "--type_k", "0", "--type_v", "0"]  # keys and values in float32
    else:
        asked = ["vllm.entrypoints.openai.api_server", "--model", model, "--served-model-name", "tiny"]
        asked += [
            "--dtype",
            "float32",
            "--max-model-len",
            "512",
            "--enforce-eager",
            "--generation-config",
            "vllm",
        ]
    command = [python, "-m", *asked, "--host", "127.0.0.1", "--port", port]
    with (logs / f"{server}.log").open("wb") as log:
        return subprocess.Popen(
            list(map(str, command)),
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | QUIET,
            cwd=logs,
            start_new_session=True,
        )


def wait_for(process, address, log):
    """Wait until a server answers."""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{address}/models"):
            return
        if process.poll() is not None:
            break
        time.sleep(0.5)
    pytest.fail(f"{address} did not start: {log.read_text('utf-8', 'replace')[-2000:]}")


def end(process):
    """End a server and the processes that it started, by the group that we gave it."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)


def free_port():
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def link_to(server, address):
    """Return the entry of a chain for a server."""
    return {
        "name": server,
        "kind": "openai",
        "model": "tiny",
        "base_url": address,
        "price": "free",
        "timeout": 900,
    }


def exact(model, prompts):
    """Return the model's own probability of each label in its usual spellings, [prompts, labels], and the labels' tokens.

    Whatever follows a label counts: servers' votes are of the label, whether the model ends there or not.
    """
    local = {"name": "exact", "kind": "transformers", "model": str(model)}
    task = chain_task(local | {"spellings": "common"}, labels=LABELS)
    link = open_link(task.chain[0], task)
    scorer, questions = link._loaded()._scorer, link._questions.read(prompts)
    behind, anything = questions[0][1], range(scorer._vocabulary)
    scores = np.exp([scorer.score([ids], behind.sequences, anything)[0] for ids, _ in questions])
    own = np.array(behind.owners)
    written = [behind.sequences[behind.owners.index(label)] for label in range(len(LABELS))]
    return np.stack([scores[:, own == label].sum(1) for label in range(len(LABELS))], 1), written


def told(sequences, label):
    """Return the labels of which an answer's tokens can tell the probability.

    Those that part from the answer where no third label goes the same way: `very_negative` from `very_positive`, and not from
    `positive`, which tells of both at once.
    """
    path = sequences[label]
    parting = {}
    for at, other in enumerate(sequences):
        shared = next((n for n, (a, b) in enumerate(zip(path, other, strict=False)) if a != b), len(path))
        if at != label:
            parting.setdefault(other[: shared + 1], []).append(at)
    return [label, *(labels[0] for labels in parting.values() if len(labels) == 1)]


@pytest.mark.parametrize("server", SERVERS)
def test_probabilities_are_the_models_own(server, addresses, model):
    """Where the listed alternatives tell a label's probability, it is the model's own to 1e-3."""
    python_of(server)
    task = chain_task(link_to(server, addresses(server)), labels=LABELS, prompt=PROMPT)
    link = open_link(task.chain[0], task)
    link.ready()
    prompts = [PROMPT.replace("{{ text }}", text) for text, _ in texts(COUNT)]

    async def asked():
        answers = [(await link.ask([prompt]))[0] for prompt in prompts]
        await link.close()
        return answers

    votes = asyncio.run(asked())
    assert all(isinstance(vote, Vote) and vote.source == "label_logprobs" for vote in votes), votes[0]
    wanted, sequences = exact(model, prompts)
    found = [
        (
            abs(float(np.exp(vote.logprobs[label])) - float(row[label])),
            LABELS[label],
            vote.text,
            float(row[label]),
        )
        for vote, row in zip(votes, wanted, strict=True)
        for label in told(sequences, LABELS.index(vote.label))
        if vote.logprobs[label] is not None
    ]
    worst, compared = sorted(found)[::-1][:5], {label for _, label, _, _ in found}
    sys.stdout.write(
        f"\n{server}: {len(found)} probabilities of {len(compared)} labels, at most {worst[0][0]:.1e} off\n"
    )
    assert worst[0][0] <= 1e-3, worst
    assert len(found) >= 2 * COUNT
    assert GIVEN or any("_" in label for label in compared)  # labels of several tokens are among them


def test_a_chain_over_real_servers(addresses, tmp_path):
    """A chain over all of them labels every row, and each keeps its share; run again it does nothing."""
    there = [server for server in SERVERS if (PLACE / server / ".done").exists()]
    if len(there) < len(SERVERS):
        pytest.skip(f"only {', '.join(there) or 'none'} could be installed here")
    links = [link_to(server, addresses(server)) for server in there]
    task = chain_task(*links, labels=LABELS, prompt=PROMPT, data={"id": "id"})
    rows = rows_of([text for text, _ in texts(COUNT)])
    assert not Run(task, rows, tmp_path / "run").execute().did_nothing
    labels = labels_of(tmp_path / "run")
    assert [row["id"] for row in labels] == rows["id"].tolist()
    assert {row["status"] for row in labels} == {"labelled"}
    first, last = (answers_in(tmp_path / "run", server) for server in there)
    assert (len(first), len(last)) == (COUNT, COUNT // 2)
    for row, vote in last.items():
        assert abs(first[row].confidence - vote.confidence) < 0.01  # the same model, behind another server
    assert Run(task, rows, tmp_path / "run").execute().did_nothing
