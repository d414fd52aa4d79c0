"""bespokelabs-curator: an LLM over a data set, with its limits of requests and tokens a minute out of the way.

python curator.py BASE_URL PROMPTS ROWS CONCURRENCY

`return_completions_object` gives the whole answer, log-probabilities included, as its docs say. The model is named gpt-4,
whose tokens it can count without a download.
"""

import json
import sys
from pathlib import Path

from bespokelabs import curator


class Labeller(curator.LLM):
    """Asks for a label."""

    return_completions_object = True

    def prompt(self, input: dict) -> str:  # noqa: A002 - its name
        """Return the question."""
        return input["prompt"]

    def parse(self, input: dict, response: dict) -> dict:  # noqa: A002 - its name
        """Return a row of the result."""
        choice = response["choices"][0]
        tokens = choice["logprobs"]["content"][0]["top_logprobs"]
        return {
            "prompt": input["prompt"],
            "label": choice["message"]["content"],
            "logprobs": [token["logprob"] for token in tokens],
        }


def main(base_url: str, prompts: list[str], concurrency: int) -> int:
    """Ask about every prompt; returns how many answers there are."""
    labeller = Labeller(
        model_name="gpt-4",
        backend="openai",
        generation_params={"temperature": 0, "max_tokens": 16, "logprobs": True, "top_logprobs": 20},
        backend_params={
            "base_url": base_url,
            "api_key": "none",
            "max_requests_per_minute": 100_000_000,
            "max_tokens_per_minute": 1_000_000_000_000,
            "max_concurrent_requests": concurrency,
        },
    )
    answered = labeller([{"prompt": prompt} for prompt in prompts])
    return sum(map(bool, answered.dataset["label"]))


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[2]).read_text("utf-8"))[: int(sys.argv[3])]
    print(json.dumps({"labelled": main(sys.argv[1], given, int(sys.argv[4]))}))
