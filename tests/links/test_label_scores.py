"""Exact scores: all labels in one pass equal one plain forward pass for each prompt and label."""

import asyncio
import gc
import importlib.util
import weakref

import numpy as np
import pytest

from catena.links import open_link
from catena.links.label_tokens import Tree
from chains import chain_task
from tiny_models import CHATML, STRICT, byte_tokenizer, made_model, piece_tokenizer

pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("torch", "transformers")),
    reason="torch or transformers is not installed",
)
LABELS = (
    "no", "none", "non-negative", "negative", "negative-ish", "very negative", "нет", "日本", "1", "10",
    "pro-war and nothing else, whatever else there may be",
)  # fmt: skip
LATIN = ("no", "none", "non-negative", "negative", "very negative", "pro-war", "pro-peace and nothing else")
PROMPTS = [
    f"What is the stance of the author towards the project? {text} Answer with exactly one of the labels."
    for text in (
        "Lovely",
        "",
        "The food was great, the staff was rude, the room was plain.",
        "Dreadful service! 1",
    )
]
MADE = {
    "llama, chat": ("Llama", lambda: byte_tokenizer(CHATML), LABELS, True),
    "llama, completion": ("Llama", byte_tokenizer, LABELS, True),
    "phi-3, word pieces": ("Phi3", lambda: piece_tokenizer(STRICT), LATIN, True),
    "gemma-2, other attention": ("Gemma2", byte_tokenizer, LABELS, True),
    "gpt-2, learned positions": ("GPT2", byte_tokenizer, LABELS, True),
    "mistral, beyond its window": ("Mistral", lambda: byte_tokenizer(CHATML), LABELS, False),
    "bloom, which knows no positions": ("Bloom", byte_tokenizer, LABELS, False),
    "t5": ("T5", lambda: byte_tokenizer(closed=True), LABELS, True),
    "bart, whose decoder counts positions": ("Bart", lambda: byte_tokenizer(closed=True), LABELS, False),
}


def opened(folder, labels, **options):
    """Return a link to a model."""
    task = chain_task({"name": "t", "kind": "transformers", "model": str(folder)} | options, labels=labels)
    return open_link(task.chain[0], task)


def brute_force(folder, labels):
    """Return the log-probability of each label and an end after each prompt: one forward pass for each of them."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = (
        transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    )
    model = kind.from_pretrained(folder).eval()
    found = np.empty((len(PROMPTS), len(labels)))
    for row, prompt in enumerate(PROMPTS):
        for column, label in enumerate(labels):
            ends = [tokenizer.eos_token_id]
            if config.is_encoder_decoder:
                before, ids = [config.decoder_start_token_id], tokenizer(label)["input_ids"][:-1]
                given = {"input_ids": torch.tensor([tokenizer(prompt)["input_ids"]])}
                given["decoder_input_ids"] = torch.tensor([before + ids])
            else:
                text, closing = around(tokenizer, prompt, label)
                ends += closing
                whole = tokenizer(text + label, add_special_tokens=False)["input_ids"]
                before = tokenizer(text.rstrip(" "), add_special_tokens=False)["input_ids"]
                assert whole[: len(before)] == before
                ids, given = whole[len(before) :], {"input_ids": torch.tensor([whole])}
            with torch.no_grad():
                logprobs = model(**given).logits[0, len(before) - 1 :].double().log_softmax(-1)
            steps = sum(logprobs[at, token].item() for at, token in enumerate(ids))
            found[row, column] = steps + logprobs[len(ids), list(set(ends))].logsumexp(0).item()
    return found


def around(tokenizer, prompt, label):
    """Return the text before a label and the tokens that close it, besides the end of the text."""
    if not tokenizer.chat_template:
        breaks = [tokenizer(text, add_special_tokens=False)["input_ids"][-1] for text in ("\n", "\n\n")]
        return prompt + " ", breaks
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": label}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    at = text.rindex(label)
    return text[:at], [tokenizer(text[at + len(label) :], add_special_tokens=False)["input_ids"][0]]


@pytest.mark.parametrize("name", MADE)
def test_scores_are_exact(name, tmp_path):
    """Every label's score equals brute force to 1e-4, in a batch and alone, whichever way the model is asked."""
    kind, tokenizer, labels, fast = MADE[name]
    made_model(kind, tokenizer(), tmp_path)
    link = opened(tmp_path, labels)
    passes = link._loaded()
    assert passes._scorer.shares == fast
    questions = link._questions.read(PROMPTS)
    sequences = questions[0][1].sequences
    wanted = brute_force(tmp_path, labels)
    prompts = [prompt for prompt, _ in questions]
    together = passes._scorer.score(prompts, sequences, link._questions.ends)
    alone = [passes._scorer.score([prompt], sequences, link._questions.ends)[0] for prompt in prompts]
    assert np.abs(together - wanted).max() < 1e-4
    assert np.abs(np.stack(alone) - wanted).max() < 1e-4
    assert np.ptp(wanted, axis=0).min() > 0.01  # what is said depends on the prompt


def test_many_labels_in_parts(tmp_path, monkeypatch):
    """Where the logits of all labels are too many for one pass, parts of them give the same scores."""
    from catena.links import label_scores

    made_model("Llama", byte_tokenizer(CHATML), tmp_path)
    link = opened(tmp_path, LABELS)
    scorer = link._loaded()._scorer
    questions = link._questions.read(PROMPTS)
    asked = [prompt for prompt, _ in questions], questions[0][1].sequences, link._questions.ends
    whole = scorer.score(*asked)
    monkeypatch.setattr(label_scores, "LOGITS_PER_PASS", 400 * len(PROMPTS) * 12)
    assert len(list(scorer.parts(asked[1], len(PROMPTS)))) > 3
    assert np.abs(scorer.score(*asked) - whole).max() < 1e-4


def test_a_model_that_does_not_take_trees_is_noticed(tmp_path):
    """A model whose answers differ in one pass is scored the plain way from then on."""
    made_model("Llama", byte_tokenizer(CHATML), tmp_path)
    link = opened(tmp_path, LABELS)
    scorer = link._loaded()._scorer
    assert scorer.shares
    mask, scorer.mask = scorer.mask, lambda allowed: mask(allowed | True)  # as if it ignored the mask
    questions = link._questions.read(PROMPTS)
    asked = [prompt for prompt, _ in questions], questions[0][1].sequences, link._questions.ends
    scorer.try_on(*asked)
    assert not scorer.shares
    assert np.abs(scorer.score(*asked) - brute_force(tmp_path, LABELS)).max() < 1e-4


def test_the_instruction_is_read_once(tmp_path):
    """What prompts begin with stays from batch to batch, a lone prompt's too; other prompts have a head of their own."""
    from catena.links.decoders import CausalScorer

    made_model("Llama", byte_tokenizer(CHATML), tmp_path)
    link = opened(tmp_path, LABELS)
    scorer = link._loaded()._scorer
    assert isinstance(scorer, CausalScorer)
    read, heads = scorer._go_on, []
    scorer._go_on = lambda keys, rows, start: (
        heads.append(rows) if not start else None,
        read(keys, rows, start),
    )
    questions = link._questions.read(PROMPTS)
    prompts, (sequences, ends) = (
        [ids for ids, _ in questions],
        (questions[0][1].sequences, link._questions.ends),
    )
    wanted = brute_force(tmp_path, LABELS)
    for _ in range(2):
        assert np.abs(scorer.score(prompts[:2], sequences, ends) - wanted[:2]).max() < 1e-4
        assert np.abs(scorer.score(prompts[2:3], sequences, ends) - wanted[2:3]).max() < 1e-4
    assert [len(rows) for rows in heads] == [1]
    others = [ids for ids, _ in link._questions.read([f"Quite another question: {text}" for text in "abc"])]
    together = scorer.score(others, sequences, ends)
    plain = np.stack([scorer.plainly(other, sequences, ends) for other in others])
    assert np.abs(together - plain).max() < 1e-4
    assert [len(rows) for rows in heads] == [1, 1]
    assert np.abs(scorer.score(prompts, sequences, ends) - wanted).max() < 1e-4


def test_prompts_are_read_up_to_the_last_keys(tmp_path):
    """The last layer's attention and what follows it see the labels and the prompts' last tokens only."""
    made_model("Llama", byte_tokenizer(CHATML), tmp_path)
    link = opened(tmp_path, LABELS)
    model = link._loaded()._scorer._model
    seen = []
    model.lm_head.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    last = model.model.layers[-1].mlp
    last.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    questions = link._questions.read(PROMPTS)
    sequences = questions[0][1].sequences
    link._passes._scorer.score([ids for ids, _ in questions], sequences, link._questions.ends)
    assert set(seen) == {1 + len(Tree(sequences).tokens)}


def test_nothing_stays_of_a_pass(tmp_path, monkeypatch):
    """The keys and values of prompts are gone with their pass: no cycle keeps them for a collector to find."""
    from catena.links import decoders

    kept = weakref.WeakSet()

    class Seen(decoders.KeyValues):
        def __init__(self, *given):
            super().__init__(*given)
            kept.add(self)

    monkeypatch.setattr(decoders, "KeyValues", Seen)
    made_model("Llama", byte_tokenizer(CHATML), tmp_path)
    link = opened(tmp_path, LABELS)
    link._loaded()
    gc.disable()
    try:
        asyncio.run(link.ask(PROMPTS))
        assert list(kept) == [link._passes._scorer._head[1]]
    finally:
        gc.enable()
