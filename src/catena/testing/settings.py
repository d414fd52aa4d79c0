"""Everything that can be set about the fake provider, in one table that its constructor, command line and `/control` share."""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from catena.errors import InputError
from catena.testing.faults import BATCH_FAULTS, validate

__all__ = ["FIXED", "Settings", "from_text", "settle"]

FIXED = ("ledger", "port")  # can't change while it runs
Share = dict[str, float]


class Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How the provider behaves.

    Args:
        labels: The labels it answers with.
        models: The models it serves, others get 404; any model where this is empty.
        seed: Another seed draws other labels and other faults.
        sharpness: How sure it is of labels: 0 all alike, 20 nearly always sure.
        accuracy: Share of gold items answered rightly, for all models or by model.
        gold: Text of an item -> its label, or the path of a JSONL file of {"text": ..., "label": ...}.
        other: Probability of texts that name no label.
        vocabulary: A JSON file with the tokens that it speaks in; pieces of up to four letters where there is none.
        latency: Seconds before an answer.
        jitter: Up to so many seconds more, by hash.
        concurrency: Requests worked on at once; more get 429.
        rate: Requests a second; more get 429, and every answer carries rate-limit headers.
        burst: Requests that may come at once before the rate counts.
        rate_retry_after: Whether the rate's 429 says when to come back (whole seconds).
        retry_after: Seconds that the fault `429_retry_after` asks to wait.
        faults: Name of a fault -> its share of all calls, by a hash of the key and the attempt.
        drip: Seconds between two bytes of the fault `drip`.
        no_logprobs: Whether to answer without log-probabilities though they were asked for.
        most_logprobs: The most `top_logprobs` that may be asked for; more get 400.
        quirk: `vllm`: the end token is listed; `llamacpp`: every `bytes` is null.
        cache_block: Tokens in a block of the prompt cache: leading blocks that were asked before are counted as cached.
            0 for no cache. Anthropic's protocol caches only where a request has `cache_control`.
        api_key: The key without which calls get 401; any key where this is empty.
        fingerprint: The `system_fingerprint`.
        serves: What it does as vLLM does: `tokenize` (as llama.cpp with that quirk), `json_schema`, `logprob_token_ids`,
            `prompt_logprobs`, `systemone`.
        down: Whether connections are closed without an answer (only `/control` answers).
        batch_seconds: Seconds that a batch takes.
        batch_done: Share of a batch that is worked on when it is cancelled.
        batch_faults: What becomes of a request in a batch -> its share: `errored`, `invalid`, `expired`, `missing`,
            `garbled`, and `duplicate` or `unknown`: a line of results too many.
        batch_shuffle: Whether results come in another order.
        batch_invalid: What is wrong with every new batch; empty for nothing.
        most_batch: The most requests that a batch may have.
        forgotten: Ids of batches and files that it does not know any more; `ID/results` for the results alone.
        hold: Which request gets no answer: the `upload` of a file; `create`: no batch is made; `created`: it is made;
            `results`; `half`: half of the results come.
        ledger: File of the ledger of calls; in memory where there is none.
        port: Port on 127.0.0.1; 0 takes a free one.
    """

    labels: list[str] = msgspec.field(default_factory=lambda: ["favor", "against", "none"])
    models: list[str] = []
    seed: int = 0
    sharpness: float = 8.0
    accuracy: float | Share = 0.8
    gold: str | dict[str, str] | None = None
    other: float = 0.02
    vocabulary: str | None = None
    latency: float = 0.0
    jitter: float = 0.0
    concurrency: int | None = None
    rate: float | None = None
    burst: int = 1
    rate_retry_after: bool = True
    retry_after: float = 1.0
    faults: Share = {}
    drip: float = 0.01
    no_logprobs: bool = False
    most_logprobs: int = 20
    quirk: Literal["", "vllm", "llamacpp"] = ""
    cache_block: int = 0
    api_key: str = ""
    fingerprint: str = "fp_fake"
    serves: list[str] = []
    down: bool = False
    batch_seconds: float = 0.0
    batch_done: float = 0.5
    batch_faults: Share = {}
    batch_shuffle: bool = False
    batch_invalid: str = ""
    most_batch: int = 100_000
    forgotten: list[str] = []
    hold: Literal["", "upload", "create", "created", "results", "half"] = ""
    ledger: str | None = None
    port: int = 0


def settle(changes: Mapping[str, Any], base: Settings | None = None) -> Settings:
    """Return settings with the changes; unknown names, wrong types and impossible faults raise `InputError`."""
    before = msgspec.structs.asdict(base or Settings())
    try:
        settings = msgspec.convert({**before, **changes}, Settings)
    except msgspec.ValidationError as error:
        raise InputError(f"The fake provider's settings: {error}.") from error
    validate(settings.faults)
    validate(settings.batch_faults, BATCH_FAULTS)
    return settings


def from_text(name: str, text: str) -> Any:
    """Read a setting from the command line: `a,b` is a list, `a=0.1,b=0.2` a table.

    >>> from_text("faults", "429=0.1,reset=0.05"), from_text("latency", "0.1"), from_text("labels", "1,0")
    ({'429': 0.1, 'reset': 0.05}, 0.1, ['1', '0'])
    """
    kind = get_type_hints(Settings)[name]
    kinds = (kind, *get_args(kind))
    if Share in kinds and "=" in text:
        pairs = (pair.rpartition("=") for pair in text.split(","))
        return {key.strip(): msgspec.convert(value, float, strict=False) for key, _, value in pairs}
    if get_origin(kind) is list:
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return text if str in kinds else msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        table = "A table is written a=0.1,b=0.2." if Share in kinds else ""
        raise InputError(f"--{name.replace('_', '-')} {text}: {error}.", table) from error
