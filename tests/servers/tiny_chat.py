"""A tiny chat model, trained on the spot to label texts: what it says means something, and labels have several tokens."""

import random
from pathlib import Path

from tiny_models import CHATML, SPECIAL

LABELS = ("very_positive", "positive", "neutral", "negative", "very_negative")
PROMPT = "Label the text with one of: " + ", ".join(LABELS) + ". Text: {{ text }} Label:"
THINGS = ("food", "service", "room", "staff", "music", "view", "garden", "price")
WORDS = {
    2: ("great", "excellent", "lovely", "superb"),
    1: ("good", "fine", "pleasant"),
    0: ("plain", "usual", "average"),
    -1: ("poor", "dull", "slow"),
    -2: ("rude", "dreadful", "awful", "filthy"),
}
STEPS, ROWS = 500, 24


def texts(count: int, seed: int = 0) -> list[tuple[str, float]]:
    """Return texts of three sentences, and how positive each is on average, from -2 to 2."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        usual = chance.choice(list(WORDS))
        marks = [usual if chance.random() < 0.7 else chance.choice(list(WORDS)) for _ in range(3)]
        said = " ".join(f"The {chance.choice(THINGS)} was {chance.choice(WORDS[mark])}." for mark in marks)
        found.append((said, sum(marks) / 3))
    return found


def chats(count: int, seed: int) -> list[tuple[str, str]]:
    """Return questions with an answer each: mostly the label that is nearest, sometimes its neighbour."""
    chance = random.Random(seed)
    made = []
    for text, mark in texts(count, seed):
        place = min(max(round(2 - mark + chance.gauss(0, 0.6)), 0), 4)
        made.append((PROMPT.replace("{{ text }}", text), LABELS[place]))
    return made


def tokenizer(words: tuple[str, ...] = ()):
    """Return a byte-level tokenizer that knows the words of the questions, and more where they are given."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    corpus = [f"user\n{question}\nassistant\n{answer}" for question, answer in chats(400, 1)]
    made.train_from_iterator([*corpus, *words * 1000], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="<|im_end|>",
        chat_template=CHATML,
        clean_up_tokenization_spaces=False,
    )


def train(folder: Path) -> Path:
    """Train a Llama of two layers for about a minute, save it with its tokenizer, and return the folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    made = tokenizer()
    end = made.convert_tokens_to_ids("<|im_end|>")
    config = LlamaConfig(
        vocab_size=len(made), hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=end, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    steps = torch.optim.AdamW(model.parameters(), lr=4e-3)
    slower = torch.optim.lr_scheduler.LinearLR(steps, 1.0, 0.01, STEPS)
    for step in range(STEPS):
        asked = []
        for question, answer in chats(ROWS, 100 + step):
            turns = [{"role": "user", "content": question}]
            before = made.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            head = made(before, add_special_tokens=False)["input_ids"]
            said = made(answer, add_special_tokens=False)["input_ids"]
            asked.append((head, [*said, end]))
        width = max(len(head) + len(said) for head, said in asked)
        ids, wanted = torch.zeros((2, ROWS, width), dtype=torch.long)
        wanted -= 100
        for row, (head, said) in enumerate(asked):
            ids[row, : len(head) + len(said)] = torch.tensor(head + said)
            wanted[row, len(head) : len(head) + len(said)] = torch.tensor(said)
        steps.zero_grad()
        model(input_ids=ids, labels=wanted).loss.backward()
        steps.step()
        slower.step()
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    return folder


def decider(folder: Path) -> Path:
    """Save a model of a kind that vLLM has choose among options, with random weights, and return the folder."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    made = tokenizer(("yes", "no"))  # answers that vLLM asks for besides letters and digits
    end = made.convert_tokens_to_ids("<|im_end|>")
    config = Qwen3Config(
        vocab_size=len(made), hidden_size=64, intermediate_size=160, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=512, pad_token_id=0, bos_token_id=1, eos_token_id=end,
        tie_word_embeddings=False, initializer_range=0.2,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    made.save_pretrained(folder)
    return folder
