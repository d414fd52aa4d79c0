"""A model's files, read by transformers: never code that comes with a model, never pickled weights."""

import contextlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from catena.errors import LinkError, MissingExtraError

__all__ = ["Checkpoint", "Source"]

SAFE = {"trust_remote_code": False}


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Which model, and how it is held.

    Args:
        model: A name on the Hugging Face hub, or a folder.
        revision: A branch, tag or commit of it.
        dtype: The type of its weights; the checkpoint's own unless said.
        device_map: As transformers has it; one accelerator where there is one, else the processor, unless said.
        quantization: As a quantization_config of transformers, for example `{load_in_4bit: true}`.
    """

    model: str
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device_map: str | dict[str, Any] | None = None
    quantization: dict[str, Any] | None = None

    @property
    def needs(self) -> Iterator[tuple[str, str]]:
        """Yield the further packages that the options need, and the option."""
        if self.device_map is not None:
            yield "accelerate", "device_map"
        if self.quantization is not None:
            asked = self.quantization
            if asked.get("quant_method", "bitsandbytes") == "bitsandbytes":
                yield "bitsandbytes", "quantization"


class Checkpoint:
    """A model's configuration and tokenizer, and its weights when they are asked for.

    Args:
        source: Which model.
        where: Begins the message of every error.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        LinkError: A file is missing or can't be used, or an option needs a package that is not installed.
    """

    def __init__(self, source: Source, where: str) -> None:
        self._source = source
        self._where = where
        for package, option in source.needs:
            if importlib.util.find_spec(package) is None:
                raise LinkError(
                    f"{where}: {option} needs {package}, which is not installed.",
                    f"Install it (pip install {package}) or leave {option} out.",
                )
        self._refuse_pickles()
        try:
            import torch  # noqa: F401, PLC0415 - heavy
            import transformers  # noqa: PLC0415 - heavy
        except ImportError as error:
            raise MissingExtraError(where, "transformers") from error
        from_hub = {"revision": source.revision, **SAFE}
        with self.loading(), _quiet():
            self.config = transformers.AutoConfig.from_pretrained(source.model, **from_hub)
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(source.model, **from_hub)
            self.seq2seq = bool(self.config.is_encoder_decoder)
            self.ends = self._ends(transformers, from_hub)

    def weights(self) -> Any:
        """Load the model itself."""
        import torch  # noqa: PLC0415 - heavy
        import transformers  # noqa: PLC0415 - heavy

        source = self._source
        kind = transformers.AutoModelForSeq2SeqLM if self.seq2seq else transformers.AutoModelForCausalLM
        options: dict[str, Any] = {"dtype": source.dtype}
        if source.device_map is not None:
            options["device_map"] = source.device_map
        with self.loading(), _quiet():
            if source.quantization is not None:
                options["quantization_config"] = _quantization(source.quantization)
            model = kind.from_pretrained(
                source.model, revision=source.revision, use_safetensors=True, **SAFE, **options
            )
            if source.device_map is None and source.quantization is None and torch.accelerator.is_available():
                model = model.to(torch.accelerator.current_accelerator())
        return model

    def tokens(self, texts: list[str], *, special: bool) -> list[Sequence[int]]:
        """Return the tokens of texts; `special` adds those that the tokenizer puts around a text."""
        fast = getattr(self.tokenizer, "backend_tokenizer", None)
        if fast is None:
            found: list[Sequence[int]] = self.tokenizer(texts, add_special_tokens=special, verbose=False)[
                "input_ids"
            ]
            return found
        fast.no_truncation()
        fast.no_padding()
        return [each.ids for each in fast.encode_batch_fast(texts, add_special_tokens=special)]

    def identity(self, model: Any) -> str:
        """Return the model's name, its commit where it is known, and the type of its weights."""
        commit = getattr(self.config, "_commit_hash", None) or self._source.revision
        name = f"{self._source.model}@{commit[:12]}" if commit else self._source.model
        return f"{name} {str(model.dtype).removeprefix('torch.')}"

    def context(self) -> int | None:
        """Return the most tokens that the model reads; None where its files don't say."""
        text = self.config.get_text_config()
        most = getattr(text, "max_position_embeddings", None) or self.tokenizer.model_max_length
        return int(most) if most < 1 << 40 else None

    def reach(self) -> int | None:
        """Return the length from which on the model treats a text in another way: a window, other positions."""
        text = self.config.get_text_config()
        windowed = getattr(text, "use_sliding_window", True)
        limits = [getattr(text, "sliding_window", None)] if windowed else []
        limits.append(getattr(text, "attention_chunk_size", None))
        rope = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
        for each in (rope, *rope.values()):
            if isinstance(each, Mapping) and each.get("rope_type") in {"longrope", "dynamic"}:
                limits.append(each.get("original_max_position_embeddings"))
                limits.append(getattr(text, "original_max_position_embeddings", None))
        return min((int(limit) for limit in limits if limit), default=None)

    def _ends(self, transformers: Any, from_hub: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the tokens at which the model stops."""
        try:
            told = transformers.GenerationConfig.from_pretrained(
                self._source.model, revision=from_hub["revision"]
            ).eos_token_id
        except OSError:  # there is none
            told = None
        for found in (told, self.config.get_text_config().eos_token_id, self.tokenizer.eos_token_id):
            if found is not None:
                return (found,) if isinstance(found, int) else tuple(found)
        return ()

    def _refuse_pickles(self) -> None:
        folder = Path(self._source.model)
        if self._source.model.startswith(("/", "./", "../", "~")) and not folder.is_dir():
            raise LinkError(f"{self._where}: there is no folder {folder}.", "Check the link's model.")
        if folder.is_dir() and not any(folder.glob("*.safetensors")):
            raise LinkError(f"{self._where}: the folder {folder} has no safetensors weights.", CONVERT)

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Make one line of what goes wrong; files that others wrote make transformers raise nearly anything."""
        try:
            yield
        except Exception as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise LinkError(
                f"{self._where}: can't load model '{self._source.model}': {said[:300].rstrip('.')}.",
                CONVERT if "safetensors" in said else "Check its name, its files and the options.",
            ) from error


CONVERT = "Only safetensors are loaded: a pickle runs code. Convert them with the model's save_pretrained."


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from writing bars and hints between our lines."""
    from transformers.utils import logging  # noqa: PLC0415 - heavy

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _quantization(options: Mapping[str, Any]) -> Any:
    from transformers.quantizers.auto import AutoQuantizationConfig  # noqa: PLC0415 - heavy

    return AutoQuantizationConfig.from_dict({"quant_method": "bitsandbytes", **options})
