"""chain-ensembles, the paper's own package: a chain of one OpenAILink. It asks one question at a time by design.

python chain_ensembles_chain.py BASE_URL PROMPTS ROWS CONCURRENCY      (CONCURRENCY is not used)

The model is named gpt-4, whose tokens it can count without a download.
"""

import json
import os
import sys
from pathlib import Path

os.environ["OPENAI_API_BASE"] = sys.argv[1]

import pandas as pd
from chain_ensembles import LLMChain, OpenAILink


def main(prompts: list[str]) -> int:
    """Ask about every prompt; returns how many answers there are."""
    chain = LLMChain([OpenAILink("gpt-4", ["positive", "negative", "neutral"], "none")])
    labelled = chain.run_chain(pd.DataFrame({"prompts": prompts}), ".", CoT=[False], verbose=False)
    return int(labelled["backward_label"].notna().sum())


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[2]).read_text("utf-8"))[: int(sys.argv[3])]
    print(json.dumps({"labelled": main(given)}))
