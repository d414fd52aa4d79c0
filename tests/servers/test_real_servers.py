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
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tiny_chat import LABELS, PROMPT, decider, texts, train

from catena.data.rows import read_rows
from catena.engine.check import check_task
from catena.engine.run import Run
from catena.errors import LinkError
from catena.ledger import Ledger
from catena.links import open_link
from catena.links.scoring import CHOOSE
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

    def address(server, folder=model):
        if (server, folder) not in running:
            port = free_port()
            running[server, folder] = start(server, folder, port, logs), f"http://127.0.0.1:{port}/v1"
        process, found = running[server, folder]
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


def scorer_of(model, prompts, labels=LABELS, spellings="common"):
    """Return the model here, and the tokens of each prompt and of the labels behind it."""
    local = {"name": "exact", "kind": "transformers", "model": str(model), "spellings": spellings}
    task = chain_task(local, labels=labels)
    link = open_link(task.chain[0], task)
    return link._loaded()._scorer, link._questions, link._questions.read(prompts)


def exact(model, prompts, labels=LABELS, spellings="common", *, ended=False):
    """Return the model's own probability of each label in its usual spellings, [prompts, labels], and the labels' tokens.

    Whatever follows a label counts: servers' votes are of the label, whether the model ends there or not. With `ended` only
    an end does.
    """
    scorer, asked, questions = scorer_of(model, prompts, labels, spellings)
    behind, follow = questions[0][1], asked.ends if ended else range(scorer._vocabulary)
    scores = np.exp([scorer.score([ids], behind.sequences, follow)[0] for ids, _ in questions])
    own = np.array(behind.owners)
    written = [behind.sequences[behind.owners.index(label)] for label in range(len(labels))]
    return np.stack([scores[:, own == label].sum(1) for label in range(len(labels))], 1), written


def first_tokens(model, prompts, labels):
    """Return the model's own probability of each label's first token, as it is written, behind a space and capitalised."""
    scorer, asked, questions = scorer_of(model, prompts, labels)
    said = [
        {asked._encode(text)[0] for text in (label, f" {label}", label[:1].upper() + label[1:])}
        for label in labels
    ]
    places = [(token,) for tokens in said for token in sorted(tokens)]
    anything = range(scorer._vocabulary)
    scores = np.exp([scorer.score([ids], places, anything)[0] for ids, _ in questions])
    edges = np.cumsum([0, *map(len, said)])
    return np.stack([scores[:, a:b].sum(1) for a, b in pairwise(edges)], 1)


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


def votes_of(entry, prompts, labels=LABELS):
    """Ask a link about prompts, one after the other; all answers are votes."""
    task = chain_task(entry, labels=labels, prompt=PROMPT)
    link = open_link(task.chain[0], task)
    link.ready()

    async def asked():
        try:
            return [(await link.ask([prompt]))[0] for prompt in prompts]
        finally:
            await link.close()

    votes = asyncio.run(asked())
    assert all(isinstance(vote, Vote) for vote in votes), votes[0]
    return votes


def prompts_of(count=COUNT):
    """Return questions."""
    return [PROMPT.replace("{{ text }}", text) for text, _ in texts(count)]


def most_off(name, votes, wanted):
    """Return how far a label's probability is off at most, and say it."""
    found = np.exp([[-np.inf if each is None else each for each in vote.logprobs] for vote in votes])
    worst = float(np.abs(found - wanted).max())
    sys.stdout.write(
        f"\n{name}: {found.size} probabilities of {found.shape[1]} labels, at most {worst:.1e} off\n"
    )
    return worst


@pytest.mark.parametrize("server", SERVERS)
def test_probabilities_are_the_models_own(server, addresses, model):
    """Where the listed alternatives tell a label's probability, it is the model's own to 1e-3."""
    python_of(server)
    prompts = prompts_of()
    votes = votes_of(link_to(server, addresses(server)), prompts)
    assert all(vote.source == "label_logprobs" for vote in votes), votes[0]
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


def test_a_server_scores_labels_in_full(addresses, model):
    """`scoring: likelihood` over vLLM: each label as it is written and with its end, whatever tokens they share."""
    python_of("vllm")
    labels = ("very_positive", "positive", "neutral", "negative", "very_negative")
    entry = link_to("vllm", addresses("vllm")) | {"scoring": "likelihood"}
    votes = votes_of(entry, prompts_of(), labels)
    wanted, _ = exact(model, prompts_of(), labels, "written", ended=True)
    assert most_off("vllm, likelihood", votes, wanted) <= 1e-3
    for vote, row in zip(votes, wanted, strict=True):
        assert (vote.source, vote.label) == ("label_likelihood", labels[row.argmax()])
        assert np.all(np.array(vote.lower) <= row + 1e-3)
        assert np.all(row <= np.array(vote.upper) + 1e-3)


def test_a_server_scores_first_tokens(addresses, model):
    """`scoring: first-token` over vLLM: each label's first token, in three spellings, however unlikely."""
    python_of("vllm")
    labels = ("positive", "negative", "neutral")
    entry = link_to("vllm", addresses("vllm")) | {"scoring": "first-token"}
    votes = votes_of(entry, prompts_of(), labels)
    assert {vote.source for vote in votes} == {"first_token_logprobs"}
    assert most_off("vllm, first-token", votes, first_tokens(model, prompts_of(), labels)) <= 1e-3
    shared = ("very_positive", "very_negative")
    with pytest.raises(LinkError, match="share their first token: very_positive, very_negative"):
        votes_of(entry, prompts_of(1), shared)


def test_a_server_chooses_among_labels(addresses, tmp_path_factory):
    """`scoring: systemone` over vLLM, which asks for a letter for each label: the letters' probabilities are the model's."""
    python_of("vllm")
    deciding = decider(tmp_path_factory.mktemp("decider"))
    entry = link_to("vllm", addresses("vllm", deciding)) | {"scoring": "systemone"}
    votes = votes_of(entry, prompts_of(8))
    assert {vote.source for vote in votes} == {"systemone"}
    letters = tuple("ABCDE"[: len(LABELS)])
    lines = [f"{letter}: {label}" for letter, label in zip(letters, LABELS, strict=True)]
    behind = "\n".join([f"Question: {CHOOSE}", *lines, "Answer with the letter of one option only."])
    asked = [f"{prompt}\n\n{behind}" for prompt in prompts_of(8)]
    wanted, _ = exact(deciding, asked, letters, "written")
    assert most_off("vllm, systemone", votes, wanted / wanted.sum(1, keepdims=True)) <= 1e-3


def test_what_a_server_offers_is_said_and_used(addresses, tmp_path):
    """A check of vLLM names its ways to score labels; `scoring: auto` takes one, keeps it in the run and labels by it."""
    python_of("vllm")
    entry = link_to("vllm", addresses("vllm"))
    plain, open_ = (
        chain_task(entry | {"scoring": way}, labels=LABELS, prompt=PROMPT, data={"id": "id"})
        for way in ("answer", "auto")
    )
    rows = rows_of([text for text, _ in texts(6)])
    (link,) = check_task(plain, read_rows(rows, plain.data, plain.labels))["links"]
    offered = [each["options"]["scoring"] for each in link["offered"]]
    assert offered == (["first-token", "likelihood"] if GIVEN else ["likelihood"])
    Run(open_, rows, tmp_path / "run").execute()
    with Ledger(tmp_path / "run") as ledger:
        found = ledger.get("resolved")["vllm"]
    source = "first_token_logprobs" if GIVEN else "label_likelihood"
    assert (found["options"], found["source"]) == ({"scoring": offered[0]}, source)
    assert {vote.source for vote in answers_in(tmp_path / "run", "vllm").values()} == {source}
    assert Run(open_, rows, tmp_path / "run").execute().did_nothing


def test_a_model_that_does_not_choose(addresses):
    """VLLM has /v1/systemone for few models; for another one the line says so, and what to do."""
    python_of("vllm")
    entry = link_to("vllm", addresses("vllm")) | {"scoring": "systemone"}
    with pytest.raises(LinkError, match=r"/systemone.*does not support.*Leave out the link's scoring"):
        votes_of(entry, prompts_of(1))


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
