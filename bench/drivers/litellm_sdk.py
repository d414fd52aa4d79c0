"""The litellm package: acompletion under a semaphore, log-probabilities asked for.

python litellm_sdk.py BASE_URL PROMPTS ROWS CONCURRENCY
"""

import asyncio
import json
import sys
from pathlib import Path

import litellm


async def main(base_url: str, prompts: list[str], concurrency: int) -> int:
    """Ask about every prompt; returns how many answers there are."""
    slots = asyncio.Semaphore(concurrency)

    async def ask(prompt: str) -> str | None:
        async with slots:
            answer = await litellm.acompletion(
                model="openai/mock",
                api_base=base_url,
                api_key="none",
                messages=[{"role": "user", "content": prompt}],
                temperature=0,
                max_tokens=16,
                logprobs=True,
                top_logprobs=20,
            )
        return answer.choices[0].message.content

    labels = await asyncio.gather(*map(ask, prompts))
    return sum(map(bool, labels))


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[2]).read_text("utf-8"))[: int(sys.argv[3])]
    print(json.dumps({"labelled": asyncio.run(main(sys.argv[1], given, int(sys.argv[4])))}))
