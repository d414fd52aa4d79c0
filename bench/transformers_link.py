"""The transformers link beside one question at a time, as chain-ensembles' HuggingFaceLink asks.

python bench/transformers_link.py [--prompts 512] [--rounds 3] [--threads 2]

That link (package chain-ensembles 0.1.0, written anew here) fills in the chat template, generates one token, takes the
softmax of its logits and reads off the first token of each label. It scores one token per label where ours scores all and
the end. Both run the same random weights in float32 on the same threads, in turn. On a busy machine several threads wait
for each other at every small operation, of which one question at a time has far more: compare --threads 1 there.
"""

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from catena.links import open_link
from catena.links.label_tokens import common
from catena.task import parse_task
from catena.types import Item
from measure import machine, table

LABELS = ("favor", "against", "neutral", "not related")
MODELS = {
    "2 layers of width 64": (2, 64, 4_096),
    "12 layers of width 768": (12, 768, 32_000),
}  # and the vocabulary
AIMS = {"2 layers of width 64": 10, "12 layers of width 768": 2}
START = "instruction: What is the author's stance towards {{ target }}?\ndata: {target: target}\n"
END = "chain: [{name: local, kind: transformers, model: FOLDER}]\n"
TWEET, PARAGRAPH = (15, 35), (45, 75)
TASKS = {
    "a codebook, short texts": f"""{START}labels:
  favor: the author supports it or attacks those who are against it
  against: the author rejects it or makes fun of those who want it
  neutral: the author weighs both sides or reports what others think
  not related: the text speaks of something else
{END}""",
    "bare labels, long texts": f"{START}labels: [favor, against, neutral, not related]\n{END}",
}
"""Prompts are about as long in both; in the first, more of a prompt is the same for all."""
WORDS = """the a of and to in is it that for was on are with as they be at this have from or had by but some what there
we can out other were all your when up use how said each she which do their time if will way about many then them would
write like so these her long make thing see him two has look more day could go come did my sound no most number who over
know water than call first people may down side been now find project council energy climate river bridge policy school
"""
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def texts(count: int, words: tuple[int, int] = TWEET) -> list[str]:
    """Return made-up texts of so many words."""
    chance = random.Random(0)
    return [" ".join(chance.choices(WORDS.split(), k=chance.randint(*words))) + "." for _ in range(count)]


def make_model(folder: Path, layers: int, width: int, vocabulary: int) -> None:
    """Save a Llama with random weights and a tokenizer that knows the words."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([*TASKS.values(), WORDS, *texts(200)], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token=special[2], pad_token=special[0], chat_template=TEMPLATE
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=8 * width // 3,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        max_position_embeddings=2048,
        pad_token_id=0,
        bos_token_id=0,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


class OneAtATime:
    """Generates a token for each prompt and reads the labels' first tokens off its logits."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.first = [self.tokenizer.encode(label, add_special_tokens=False)[0] for label in LABELS]

    def label(self, prompts: list[str]) -> list[str]:
        """Return a label for each prompt."""
        return [LABELS[int(self.scores(prompt).argmax())] for prompt in prompts]

    def scores(self, prompt: str):
        """Return the log-probabilities of the labels' first tokens."""
        import torch

        asked = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}],
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        )
        said = self.model.generate(
            **asked,
            max_new_tokens=1,
            output_logits=True,
            return_dict_in_generate=True,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        self.tokenizer.decode(said.sequences[0, asked["input_ids"].shape[1] :], skip_special_tokens=True)
        return torch.softmax(said.logits[0][0], dim=0).log()[self.first]


def timed(work) -> tuple[float, float]:
    """Return the seconds that a call takes, and the CPU seconds."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - cpu


def compare(folder: Path, name: str, count: int, rounds: int) -> dict[str, str]:
    """Return both ways' seconds for the prompts, in turn, as a row of the table."""
    task = parse_task(TASKS[name].replace("FOLDER", str(folder)))
    link, other = open_link(task.chain[0], task), OneAtATime(folder)
    items = [
        Item(row, str(row), text, target="the new bridge")
        for row, text in enumerate(texts(count, TWEET if "short" in name else PARAGRAPH))
    ]
    prompts = [link.render(item) for item in items]
    size = link.capabilities.batch

    def ours() -> None:
        for start in range(0, len(prompts), size):
            asyncio.run(link.ask(prompts[start : start + size]))

    asyncio.run(link.ask(prompts[:4]))
    other.label(prompts[:4])
    rounds_of = [(timed(lambda: other.label(prompts)), timed(ours)) for _ in range(rounds)]
    ratios = " ".join(f"{one[0] / all_labels[0]:.1f}" for one, all_labels in rounds_of)
    one, all_labels = (
        [statistics.median(figure) for figure in zip(*way, strict=True)]
        for way in zip(*rounds_of, strict=True)
    )
    tokens = [other.tokenizer.encode(prompt) for prompt in prompts]
    same = common(min(tokens), max(tokens))
    return {
        "tokens of a prompt": f"{statistics.mean(map(len, tokens)):.0f}",
        "the same in all": str(same),
        "one at a time, s (CPU)": f"{one[0]:.2f} ({one[1]:.2f})",
        "the link, s (CPU)": f"{all_labels[0]:.2f} ({all_labels[1]:.2f})",
        "the link is": f"{one[0] / all_labels[0]:.1f}x",
        "in each round": ratios,
    }


def main() -> None:
    """Print the table."""
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="part of a model's name")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(machine())
    rows = []
    for name, size in MODELS.items():
        if given.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            make_model(Path(folder), *size)
            for shape in TASKS:
                row = compare(Path(folder), shape, given.prompts, given.rounds)
                rows.append({"model": f"{name}; {shape}", **row, "aim": f">= {AIMS[name]}x"})
    print(
        f"\n{given.prompts} prompts, {len(LABELS)} labels, float32, threads: {given.threads}; medians of {given.rounds} rounds\n"
    )
    print(table(rows))


if __name__ == "__main__":
    main()
