"""A plain asyncio loop over the HTTP client that Catena uses: no scoring, no ledger, no retries. The floor for Python.

python pyreqwest_loop.py BASE_URL PROMPTS ROWS CONCURRENCY
"""

import asyncio
import json
import sys
from datetime import timedelta
from pathlib import Path

import uvloop
from pyreqwest.client import ClientBuilder


async def main(base_url: str, prompts: list[str], concurrency: int) -> int:
    """Ask about every prompt; returns how many answers there are."""
    slots = asyncio.Semaphore(concurrency)
    client = ClientBuilder().timeout(timedelta(seconds=60)).max_connections(concurrency).build()

    async def ask(prompt: str) -> str:
        body = {
            "model": "mock",
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": 16,
            "logprobs": True,
            "top_logprobs": 20,
        }
        async with slots:
            response = await client.post(f"{base_url}/chat/completions").body_json(body).build().send()
            answer = await response.json()
        return answer["choices"][0]["message"]["content"]

    labels = await asyncio.gather(*map(ask, prompts))
    await client.close()
    return sum(map(bool, labels))


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[2]).read_text("utf-8"))[: int(sys.argv[3])]
    print(json.dumps({"labelled": uvloop.run(main(sys.argv[1], given, int(sys.argv[4])))}))
