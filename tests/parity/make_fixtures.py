"""Record what the reference implementation of the paper answers, for `test_parity`.

The reference is `chain_sim.py` of `chain-ensembles` 0.1.0, by the paper's authors. It is run here, once, and never by
the tests:

    python -m pip install --no-deps chain-ensembles==0.1.0
    python -m pip install pandas scikit-learn tqdm
    python tests/parity/make_fixtures.py [--reference PATH] [--recorded DIR]

`--reference` names a `chain_sim.py`; without it the installed package's file is loaded alone, because the package
itself imports torch. `--recorded` (or CATENA_RECORDED) names a folder of recorded vote tables; of those only hashes are
stored, never data. Without it the recorded part of the fixtures stays as it was. The result is `reference.json` beside
this file.
"""

import argparse
import importlib.util
import json
import os
import sys
import types
from collections.abc import Iterator
from importlib import metadata
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from parity_tables import RECORDED, digest, recorded, synthetic

from catena.data.votes import VoteTable

FIXTURES = Path(__file__).with_name("reference.json")
LENGTHS = (2, 3, 4)
FULL_UP_TO = 12  # items; so few that a person can read the whole answer
SYNTHETIC = (
    {"seed": 1, "items": 7, "links": 4, "labels": 2},
    {"seed": 2, "items": 12, "links": 5, "labels": 3},
    {"seed": 3, "items": 50, "links": 4, "labels": 2},
    {"seed": 4, "items": 300, "links": 5, "labels": 4},
    {"seed": 5, "items": 901, "links": 5, "labels": 6},
    {"seed": 6, "items": 2500, "links": 4, "labels": 3},
)
SYNTHETIC_ORDERS = 5  # per table and length
RECORDED_ORDERS = 8  # per set and length
JITTER_SEED = 7


def main() -> None:
    """Write the fixtures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reference", type=Path, help="chain_sim.py of chain-ensembles 0.1.0")
    parser.add_argument("--recorded", type=Path, default=os.environ.get("CATENA_RECORDED"))
    given = parser.parse_args()
    reference = load(given.reference or installed())
    before = json.loads(FIXTURES.read_text("utf-8")) if FIXTURES.exists() else {}
    fixtures = {
        "reference": "chain-ensembles 0.1.0, chain_sim.py: chain_dataframes and backward_pass",
        "synthetic": [
            {
                "table": made,
                "orders": list(answers(reference, synthetic(**made), made["seed"], SYNTHETIC_ORDERS, True)),
            }
            for made in SYNTHETIC
        ],
        "recorded": before.get("recorded", []),
    }
    if given.recorded:
        fixtures["recorded"] = [
            {
                "set": name,
                "seed": JITTER_SEED,
                "orders": list(
                    answers(
                        reference,
                        recorded(given.recorded / name, JITTER_SEED),
                        JITTER_SEED,
                        RECORDED_ORDERS,
                        False,
                    )
                ),
            }
            for name in RECORDED
        ]
    FIXTURES.write_text(json.dumps(fixtures, indent=1) + "\n", "utf-8")
    for part in ("synthetic", "recorded"):
        sys.stderr.write(f"{part}: {sum(len(one['orders']) for one in fixtures[part])} orders\n")


def installed() -> Path:
    """Return chain_sim.py of the installed package, without importing the package."""
    try:
        files = metadata.files("chain-ensembles") or []
    except metadata.PackageNotFoundError:
        sys.exit(
            "chain-ensembles is not installed: pip install --no-deps chain-ensembles==0.1.0, or --reference PATH"
        )
    return next(Path(str(file.locate())) for file in files if file.name == "chain_sim.py")


def load(path: Path) -> types.ModuleType:
    """Import one file."""
    spec = importlib.util.spec_from_file_location("chain_sim", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answers(
    reference: types.ModuleType, table: VoteTable, seed: int, count: int, with_kept: bool
) -> Iterator[dict[str, object]]:
    """Run the reference on a seeded sample of the orders of each length."""
    rng = np.random.Generator(np.random.PCG64(seed))
    frames = {name: frame(table, j) for j, name in enumerate(table.links)}
    for length in LENGTHS:
        orders = list(permutations(table.links, length))
        if length <= len(table.links):
            chosen = np.argsort(rng.random(len(orders)), kind="stable")[:count]
            for order in (orders[at] for at in sorted(chosen)):
                yield answer(reference, [frames[name] for name in order], order, with_kept)


def answer(
    reference: types.ModuleType, frames: list[pd.DataFrame], order: tuple[str, ...], with_kept: bool
) -> dict[str, object]:
    """Return the reference's answer for one order, in input order: hashes, and in full where it is small."""
    chained, _ = reference.chain_dataframes(frames, "gold")
    final = reference.backward_pass(chained, len(frames)).sort_index()
    scaled = reference.backward_pass(chained, len(frames), rank=False).sort_index()
    if len(final) != len(frames[0]):
        sys.exit(f"{order}: the reference lost items")
    vectors = {"last": final["pred_label"].tolist(), "rank": final["backward_label"].tolist()}
    vectors["minmax"] = scaled["backward_label"].tolist()
    if with_kept:
        vectors["kept_by"] = final["link"].tolist()
    found: dict[str, object] = {"order": list(order)}
    found |= {name: digest(values) for name, values in vectors.items()}
    if with_kept and len(final) <= FULL_UP_TO:
        found["full"] = {name: " ".join(map(str, values)) for name, values in vectors.items()}
    return found


def frame(table: VoteTable, link: int) -> pd.DataFrame:
    """Return one link's votes as the reference wants them."""
    names = np.array(table.labels, dtype=object)
    return pd.DataFrame(
        {
            "gold": names[table.gold],
            "pred_label": names[table.label[link]],
            "conf_score": table.confidence[link],
        }
    )


if __name__ == "__main__":
    main()
