"""The transformers link beside one question at a time, as chain-ensembles' HuggingFaceLink asks.

python bench/transformers_link.py [--only 2x64] [--prompts 512] [--rounds 3] [--threads 2]

That link (package chain-ensembles 0.1.0, written anew here; beside the package itself, on the same model and in turn, it
took 4.54 ms of the processor for a prompt where the package took 4.57) fills in the chat template, generates one token, takes the
softmax of its logits and reads off the first token of each label. It scores one token per label where ours scores all and
the end. Both get the same prompts, from the default template, and run the same random weights in float32 on the same
threads, in turn: one way, the other, one way, the other. The tokenizer knows the words of the prompts, as one of a real
model does. The large model is asked fewer of them: its seconds grow in proportion.
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
from catena.prompts import Prompter
from catena.task import parse_task
from catena.types import Item
from measure import machine, table

LABELS = ("favor", "against", "neutral", "not related")
MODELS = {"2x64": (2, 64, 4_096), "12x768": (12, 768, 32_000)}
"""Layers, width and vocabulary."""
AIMS = {"2x64": 10, "12x768": 2}
PROMPTS = {"2x64": 512, "12x768": 96}
START = "instruction: What is the author's stance towards {{ target }}?\ndata: {target: target}\n"
END = "chain: [{name: local, kind: transformers, model: FOLDER}]\n"
TWEET, PARAGRAPH = (15, 35), (70, 100)
TASKS = {
    "a codebook, short texts": f"""{START}labels:
  favor: the author supports it, or attacks those who are against it or who have put it off for long
  against: the author rejects it, or makes fun of it or of those who want it
  neutral: the author weighs both sides, or reports what others think without a view of their own
  not related: the text speaks of something else, or names it only in passing
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


def prompts_of(shape: str, count: int) -> list[str]:
    """Return prompts about made-up texts, as the default template writes them."""
    chance = random.Random(0)
    least, most = TWEET if "short" in shape else PARAGRAPH
    texts = [" ".join(chance.choices(WORDS.split(), k=chance.randint(least, most))) for _ in range(count)]
    render = Prompter(parse_task(TASKS[shape]))
    return [
        render(Item(row, str(row), f"{text}.", target="the new bridge")) for row, text in enumerate(texts)
    ]


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
    chats = [f"user\n{prompt}\nassistant\n" for shape in TASKS for prompt in prompts_of(shape, 200)]
    made.train_from_iterator(chats, trainer)
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


def compare(folder: Path, shape: str, count: int, rounds: int) -> dict[str, str]:
    """Return both ways' seconds for the prompts, in turn, as a row of the table."""
    task = parse_task(TASKS[shape].replace("FOLDER", str(folder)))
    link, other, prompts = open_link(task.chain[0], task), OneAtATime(folder), prompts_of(shape, count)
    size = link.capabilities.batch

    async def ours() -> None:
        for start in range(0, len(prompts), size):
            await link.ask(prompts[start : start + size])

    asyncio.run(link.ask(prompts[:4]))
    other.label(prompts[:4])
    rounds_of = []
    for _ in range(rounds):
        rounds_of.append((timed(lambda: other.label(prompts)), timed(lambda: asyncio.run(ours()))))
        (wall, cpu), (our_wall, our_cpu) = rounds_of[-1]
        print(
            f"{shape}: {wall:.2f} s (CPU {cpu:.2f}) against {our_wall:.2f} s (CPU {our_cpu:.2f})", flush=True
        )
    one, all_labels = (
        [statistics.median(figure) for figure in zip(*way, strict=True)]
        for way in zip(*rounds_of, strict=True)
    )
    tokens = [other.tokenizer.encode(prompt) for prompt in prompts]
    return {
        "prompts": str(count),
        "tokens of a prompt": f"{statistics.mean(map(len, tokens)):.0f}",
        "the same in all": str(common(min(tokens), max(tokens))),
        "one at a time, s (CPU)": f"{one[0]:.2f} ({one[1]:.2f})",
        "the link, s (CPU)": f"{all_labels[0]:.2f} ({all_labels[1]:.2f})",
        "the link is": f"{one[0] / all_labels[0]:.1f}x ({one[1] / all_labels[1]:.1f}x)",
        "in each round": " ".join(f"{a[0] / b[0]:.1f} ({a[1] / b[1]:.1f})" for a, b in rounds_of),
    }


def main() -> None:
    """Print the table."""
    import torch

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, help=f"how many; {PROMPTS} unless said")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=MODELS, help="layers x width of the only model")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(machine())
    rows = []
    for name in [given.only] if given.only else MODELS:
        with tempfile.TemporaryDirectory() as folder:
            make_model(Path(folder), *MODELS[name])
            for shape in TASKS:
                row = compare(Path(folder), shape, given.prompts or PROMPTS[name], given.rounds)
                rows.append({"model": f"{name}; {shape}", **row, "aim": f">= {AIMS[name]}x"})
    print(f"\n{len(LABELS)} labels, float32, threads: {given.threads}; medians of {given.rounds} rounds\n")
    print(table(rows))


if __name__ == "__main__":
    main()
