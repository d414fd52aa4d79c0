"""Write a small Llama with a byte-level tokenizer as a GGUF file: python gguf_file.py FOLDER FILE

Needs the package gguf, which is installed beside llama-cpp-python. The names are those of llama.cpp's `llama` architecture;
its queries and keys have the two halves of each rotation interleaved, where transformers has them one after the other.
"""

import json
import sys
from pathlib import Path

import numpy as np
from gguf import GGUFWriter, TokenType

TENSORS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
ENDS = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def weights(file: Path) -> dict[str, np.ndarray]:
    """Return the float32 tensors of a safetensors file by name."""
    data = file.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    found = {}
    for name, said in json.loads(data[8:begin]).items():
        if name != "__metadata__":
            assert said["dtype"] == "F32", name
            first, last = said["data_offsets"]
            found[name] = np.frombuffer(data[begin + first : begin + last], np.float32).reshape(said["shape"])
    return found


def interleaved(weight: np.ndarray, heads: int) -> np.ndarray:
    """Return the rows of each head with its two halves in turn."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(weight.shape)


def write(folder: Path, file: Path) -> None:
    """Write the model of a folder."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    rope = config.get("rope_parameters") or config
    made = GGUFWriter(file, "llama")
    made.add_context_length(config["max_position_embeddings"])
    made.add_embedding_length(config["hidden_size"])
    made.add_block_count(config["num_hidden_layers"])
    made.add_feed_forward_length(config["intermediate_size"])
    made.add_head_count(heads)
    made.add_head_count_kv(groups)
    made.add_rope_dimension_count(config["hidden_size"] // heads)
    made.add_rope_freq_base(rope["rope_theta"])
    made.add_layer_norm_rms_eps(config["rms_norm_eps"])
    made.add_vocab_size(config["vocab_size"])
    add_tokenizer(made, folder, config)
    for name, weight in weights(folder / "model.safetensors").items():
        stem = name.removesuffix(".weight")
        if stem in ENDS:
            made.add_tensor(f"{ENDS[stem]}.weight", weight)
            continue
        _, _, layer, inner = stem.split(".", 3)
        if inner in {"self_attn.q_proj", "self_attn.k_proj"}:
            weight = interleaved(weight, heads if "q_proj" in inner else groups)  # noqa: PLW2901 - the same, as llama.cpp has it
        made.add_tensor(f"blk.{layer}.{TENSORS[inner]}.weight", weight)
    made.write_header_to_file()
    made.write_kv_data_to_file()
    made.write_tensors_to_file()
    made.close()


def add_tokenizer(made: GGUFWriter, folder: Path, config: dict) -> None:
    """Add the tokens, merges and chat template."""
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    names = {at: name for name, at in tokenizer["model"]["vocab"].items()}
    control = {each["id"]: each["content"] for each in tokenizer["added_tokens"]}
    names |= control
    places = range(config["vocab_size"])
    made.add_tokenizer_model("gpt2")
    made.add_tokenizer_pre("gpt-2")
    made.add_token_list([names[at] for at in places])
    made.add_token_types([TokenType.CONTROL if at in control else TokenType.NORMAL for at in places])
    merges = tokenizer["model"]["merges"]
    made.add_token_merges([each if isinstance(each, str) else " ".join(each) for each in merges])
    made.add_bos_token_id(config["bos_token_id"])
    made.add_eos_token_id(config["eos_token_id"])
    made.add_pad_token_id(config["pad_token_id"])
    made.add_add_bos_token(False)
    made.add_chat_template((folder / "chat_template.jinja").read_text("utf-8"))


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
