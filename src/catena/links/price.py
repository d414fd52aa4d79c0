"""What tokens cost."""

from typing import Annotated, Any, Literal

import msgspec

from catena.errors import TaskError

__all__ = ["FREE", "Price", "find_price"]


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """USD per million tokens.

    Args:
        input: Tokens of prompts.
        output: Tokens of answers.
        cached: Tokens of prompts that the provider took from its cache; as `input` unless said, never more.
    """

    input: Annotated[float, msgspec.Meta(ge=0)]
    output: Annotated[float, msgspec.Meta(ge=0)]
    cached: Annotated[float, msgspec.Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        if self.cached is not None and self.cached > self.input:  # no bound of a call would hold
            raise ValueError("cached tokens can't cost more than input")

    def usd(
        self, prompt_tokens: int, completion_tokens: int, cached: int = 0, surcharge: float = 0.0
    ) -> float:
        """Return what these tokens cost.

        Args:
            prompt_tokens: All tokens of the prompt.
            completion_tokens: Tokens of the answer.
            cached: Those of the prompt that came from the provider's cache.
            surcharge: What is paid on top for what was put into the cache, as a number of prompt tokens.
        """
        cached = min(cached, prompt_tokens)
        saved = 0.0 if self.cached is None else (self.input - self.cached) * cached
        return (self.input * (prompt_tokens + surcharge) - saved + self.output * completion_tokens) / 1e6


FREE = Price(0.0, 0.0)


def find_price(
    given: Price | Literal["free"] | None,
    model: str,
    base_url: str | None,
    where: str,
    provider: str = "openai",
) -> Price:
    """Return the price that the task gives, or else the one of the kept price list (package genai-prices).

    Args:
        given: What the task says.
        model: As the server calls it.
        base_url: Where the server is; the provider's own address unless said.
        where: Begins the message.
        provider: As the price list calls it.

    Raises:
        TaskError: Neither knows it; the message has the line to add.
    """
    if given == "free":
        return FREE
    if isinstance(given, Price):
        return given
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - takes 0.2 s

    served_by: dict[str, Any] = {"provider_api_url": base_url} if base_url else {"provider_id": provider}
    try:
        ask = (
            Usage(input_tokens=1000),
            Usage(output_tokens=1000),
            Usage(input_tokens=1000, cache_read_tokens=1000),
        )
        input_, output, cached = (
            float(calc_price(usage, model_ref=model, **served_by).total_price) * 1000 for usage in ask
        )
    except LookupError:
        raise TaskError(
            f"{where}: the price of model '{model}' is not known.",
            "Add to the link: price: {input: USD, output: USD} per million tokens, or price: free",
        ) from None
    return Price(input_, output, min(cached, input_))
