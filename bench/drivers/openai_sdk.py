"""The openai package: AsyncOpenAI on aiohttp, as its README advises for many calls, under a semaphore.

python openai_sdk.py BASE_URL PROMPTS ROWS CONCURRENCY

Log-probabilities are asked for.
"""

import asyncio
import json
import sys
from pathlib import Path

from openai import AsyncOpenAI, DefaultAioHttpClient


async def main(base_url: str, prompts: list[str], concurrency: int) -> int:
    """Ask about every prompt; returns how many answers there are."""
    slots = asyncio.Semaphore(concurrency)
    async with AsyncOpenAI(base_url=base_url, api_key="none", http_client=DefaultAioHttpClient()) as client:

        async def ask(prompt: str) -> str | None:
            async with slots:
                answer = await client.chat.completions.create(
                    model="mock",
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
