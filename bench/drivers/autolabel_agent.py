"""refuel-autolabel: a LabelingAgent without its cache. It asks one question at a time.

python autolabel_agent.py BASE_URL PROMPTS ROWS CONCURRENCY      (CONCURRENCY is not used)

Its classification task puts a few lines of its own around the prompt. This version asks chat models for no
log-probabilities.
"""

import json
import os
import sys
from pathlib import Path

os.environ |= {"OPENAI_API_BASE": sys.argv[1], "OPENAI_API_KEY": "none"}

import pandas as pd
from autolabel import AutolabelDataset, LabelingAgent

CONFIG = {
    "task_name": "sentiment",
    "task_type": "classification",
    "model": {"provider": "openai", "name": "gpt-3.5-turbo", "params": {"max_tokens": 16}},
    "dataset": {"delimiter": ","},
    "prompt": {
        "task_guidelines": "Label the input.",
        "labels": ["positive", "negative", "neutral"],
        "example_template": "{prompt}",
    },
}


def main(prompts: list[str]) -> int:
    """Ask about every prompt; returns how many answers there are."""
    agent = LabelingAgent(CONFIG, cache=False, console_output=False)
    rows = AutolabelDataset(pd.DataFrame({"prompt": prompts}), CONFIG)
    labelled = agent.run(rows, skip_eval=True)
    return int(labelled.df["sentiment_successfully_labeled"].sum())


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[2]).read_text("utf-8"))[: int(sys.argv[3])]
    print(json.dumps({"labelled": main(given)}))
