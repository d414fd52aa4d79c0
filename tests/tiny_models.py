"""Language models with random weights, made on the spot: small, but what they say depends on every token they read."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

CORPUS = [
    "What is the stance of the author towards the project? Answer with exactly one of the labels and nothing else.",
    "favor against none negative positive neutral non-negative very_positive very negative no yes spam not_spam",
    "Lovely weather, dreadful service. The food was great, the staff was rude, the room was plain.",
    "user assistant system pro-war pro-peace über naïve café",
]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
STRICT = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('No system.') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + '</s>' }}{% endif %}{% endfor %}"
)
SPECIAL = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def byte_tokenizer(template=None, *, closed=False):
    """Return a byte-level BPE tokenizer; `closed` adds an end to every text."""
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
        ),
    )
    if closed:
        made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=SPECIAL[3:],
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


def piece_tokenizer(template=None):
    """Return a tokenizer of word pieces that begin with a mark for the space, as SentencePiece makes them."""
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    letters = sorted({letter for text in CORPUS for letter in text})
    made.train_from_iterator(
        CORPUS,
        trainers.UnigramTrainer(
            vocab_size=300,
            special_tokens=[*SPECIAL, "<unk>"],
            unk_token="<unk>",
            initial_alphabet=letters,
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


def made_model(kind, tokenizer, folder, **options):
    """Make a model of this kind with random weights, save it with its tokenizer, and return the folder."""
    import torch
    import transformers

    torch.set_num_threads(1)  # these models are so small that threads only wait for each other
    torch.manual_seed(0)
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(tokenizer), **ids, **SIZES[kind] | options)
    auto = (
        transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    )
    model = auto.from_config(config)
    for name, weight in model.named_parameters():
        if weight.dim() > 1:  # larger than usual, so that every token read shows in what is said
            spread = (
                1.0 if "embed" in name or "shared" in name or "wte" in name else 2.0 / weight.shape[1] ** 0.5
            )
            torch.nn.init.normal_(weight, std=spread)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES = {
    "Llama": SMALL | {"num_key_value_heads": 2, "max_position_embeddings": 512},
    "Mistral": SMALL | {"num_key_value_heads": 2, "max_position_embeddings": 512, "sliding_window": 24},
    "Phi3": SMALL | {"num_key_value_heads": 2, "max_position_embeddings": 512, "sliding_window": None},
    "Gemma2": SMALL | {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 256, "max_position_embeddings": 512},
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "Bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "Mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "T5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0},
    "Bart": {
        "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 512, "decoder_start_token_id": 2,
    },
}  # fmt: skip
"""By the name of the architecture in transformers."""
