"""Passes: two at a time on the processor, and fewer and smaller ones where memory runs out."""

import importlib.util
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from catena.errors import LinkError
from catena.links.label_tokens import Continuations
from catena.links.passes import Passes, in_cache
from tiny_models import byte_tokenizer, made_model

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torch", "transformers")),
    reason="torch or transformers is not installed",
)
BEHIND = Continuations(0, ((1,), (2,)), (0, 1))
PROMPTS = [(n, *range(n % 3)) for n in range(20)]


class Scorer:
    """Scores a prompt by its first token; memory holds so many prompts, those of all passes under way counted."""

    def __init__(self, holds, error):
        self.holds, self.error = holds, error
        self.lock, self.under_way, self.sizes = threading.Lock(), 0, []

    def score(self, prompts, sequences, ends):
        """Return the first token and 0 for each prompt."""
        with self.lock:
            self.under_way += len(prompts)
            self.sizes.append(len(prompts))
            too_many = self.under_way > self.holds
        try:
            if too_many:
                raise self.error
            return np.array([[float(prompt[0]), 0.0] for prompt in prompts])
        finally:
            with self.lock:
                self.under_way -= len(prompts)


def errors():
    """Return what may be raised where memory runs out, on the processor and on accelerators."""
    import torch

    return [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    ]


@pytest.mark.parametrize(("holds", "error"), [(6, 0), (2, 1), (1, 2), (0, 0)])
@pytest.mark.parametrize("at_once", [1, 2])
def test_memory_runs_out(at_once, holds, error):
    """Every prompt gets its own scores in as many passes as it takes; one that is too much alone fails with the reason."""
    scorer = Scorer(holds, errors()[error])
    passes = Passes(scorer, (0,), 40, 100, "link 't'", at_once)
    found = passes.scores(PROMPTS if holds else PROMPTS[:3], BEHIND)
    if holds:
        assert [each[0] for each in found] == [float(prompt[0]) for prompt in PROMPTS]
        scorer.sizes.clear()
        passes.scores(PROMPTS, BEHIND)
        assert max(scorer.sizes) <= holds  # what was too much once is not tried again
    else:
        assert {each.reason for each in found} == {"too_long"}


def test_two_passes_at_a_time():
    """Two passes run at the same time, each on half of the threads, and nothing of that is left afterwards."""
    import torch

    together, threads = threading.Barrier(2), []

    class Meeting(Scorer):
        def score(self, prompts, sequences, ends):
            threads.append(torch.get_num_threads())
            together.wait(60)  # breaks where no other pass comes
            return super().score(prompts, sequences, ends)

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        found = Passes(Meeting(99, None), (0,), 1000, 5, "link 't'", at_once=2).scores(PROMPTS, BEHIND)
        assert torch.get_num_threads() == 4
        later = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [4]
    finally:
        torch.set_num_threads(before)
    assert [each[0] for each in found] == [float(prompt[0]) for prompt in PROMPTS]
    assert threads == [2] * 4


@pytest.mark.parametrize("at_once", [1, 2])
def test_other_errors_are_no_lack_of_memory(at_once):
    """What else a model raises ends the work with one line."""
    broken = Scorer(0, RuntimeError("a tensor\nhas the wrong shape"))
    with pytest.raises(LinkError, match="link 't': the model failed: a tensor has the wrong shape"):
        Passes(broken, (0,), 20, 100, "link 't'", at_once).scores(PROMPTS, BEHIND)


REALLY = """
import asyncio, resource, sys
import torch
from catena.links import open_link
from catena.types import Vote
from chains import chain_task

torch.set_num_threads(2)
link = {"name": "t", "kind": "transformers", "model": sys.argv[1], "batch": 96, "pass_tokens": 1 << 20}
link = open_link((task := chain_task(link)).chain[0], task)
prompts = [f"The food was great, again, number {n}. " * 3 for n in range(96)]
asyncio.run(link.ask(prompts[:2]))
before = link._passes._tokens
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (160 << 20),) * 2)
answers = asyncio.run(link.ask(prompts))
assert all(isinstance(answer, Vote) for answer in answers), answers[0]
assert link._passes._tokens < before
print("halved", link._passes._tokens)
"""


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="the memory of a process is limited as on Linux"
)
def test_memory_that_really_runs_out(tmp_path):
    """Where the system itself refuses memory the batch is halved until it fits, and every prompt has its vote."""
    model = made_model("Llama", byte_tokenizer(), tmp_path, intermediate_size=8192)
    tests = Path(__file__).parent.parent
    found = subprocess.run(
        [sys.executable, "-c", REALLY, str(model)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tests), *sys.path])},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert found.returncode == 0, found.stderr
    assert "halved" in found.stdout


@pytest.mark.parametrize(
    ("width", "device", "wanted"),
    [(64, "cpu", 8192), (512, "cpu", 3072), (4096, "cpu", 2048), (4096, "meta", 8192)],
)
def test_passes_that_the_cache_holds(width, device, wanted):
    """On the processor a wide model has fewer tokens in a pass, to a limit; elsewhere as many as are allowed."""
    import torch

    model = torch.nn.Embedding(2, width, device=device)
    model.device, model.get_input_embeddings = torch.device(device), lambda: model
    assert in_cache(model, 8192) == wanted
    assert in_cache(model, 100) == 100


FREED = """
import resource, sys
import torch
from catena.links.passes import keep_freed

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    some = [torch.empty(10 << 20, dtype=torch.uint8).fill_(1) for _ in range(5)]
    del some
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if sys.argv[1] == "kept":
    keep_freed()
pages()
print(sum(pages() for _ in range(4)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep memory in other ways")
def test_what_tensors_free_is_kept():
    """The memory of one pass's tensors is there for the next ones; by itself the C library would get it anew, page by page.

    A block or two may still be got anew before all have found their places.
    """
    pages = {
        way: int(subprocess.run([sys.executable, "-c", FREED, way], capture_output=True, check=True).stdout)
        for way in ("kept", "as it is")
    }
    one_round = 5 * 10 * 256
    assert pages["kept"] < one_round / 2
    assert pages["as it is"] > one_round / 2
