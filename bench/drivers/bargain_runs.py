"""bargain: BARGAIN_A on one chain of two links, for many draws.

python bargain_runs.py IN.npz OUT.npz

IN holds `wrong` (whether the first link's label is not the second's, items from the surest to the least sure, [n]), `orders`
(in which order items are drawn, [draws, n]), `targets` and `delta`. OUT holds `called` (share of the items that the second
link is asked about, the draw included) and `wrong` (how many wrong labels are left), both [targets, draws]. Answers are
looked up instead of asked for in threads, and items are drawn in the given order instead of one of its own; all else is as
the package does it.
"""

import importlib
import sys

import numpy as np
from BARGAIN import BARGAIN_A, Oracle, Proxy

sampling = importlib.import_module("BARGAIN.process.BARGAIN_A")
Sampler = sampling.WoR_Sampler


class First(Proxy):
    """The first link, whose answer is always 0; the surest item has the highest score."""

    def get_preds_and_scores(self, indxs, data_records):  # noqa: ARG002
        """Look answers and scores up."""
        return np.zeros(len(indxs), int), -np.asarray(indxs, float)


class Second(Oracle):
    """The second link, whose answer is 0 where the first one's is right, 1 elsewhere."""

    def __init__(self, wrong):
        super().__init__(verbose=False)
        self.wrong = wrong

    def is_answer_correct(self, data_indxs, data_records, proxy_output_at_indxs):  # noqa: ARG002
        """Look up whether the first link is right."""
        return (~self.wrong[data_indxs]).astype(float)

    def get_pred(self, data_records, indxs=None):  # noqa: ARG002
        """Look answers up."""
        return self.wrong[indxs].astype(int)


def run(wrong, order, target, delta):
    """Return the share of items that the second link is asked about, and how many wrong labels are left."""

    class Given(Sampler):
        def __init__(self, n):
            super().__init__(n)
            self.indxs = order

    sampling.WoR_Sampler = Given
    method = BARGAIN_A(First(verbose=False), Second(wrong), target=target, delta=delta, verbose=False)
    _, asked = method.process([""] * len(wrong), return_oracle_usage=True)
    asked = np.array(asked)
    return asked.mean(), int((wrong & ~asked).sum())


def main():
    """Run every target on every draw."""
    given = np.load(sys.argv[1])
    wrong, delta = given["wrong"], float(given["delta"])
    found = [
        [run(wrong, order.astype(int), float(target), delta) for order in given["orders"]]
        for target in given["targets"]
    ]
    called, left = np.moveaxis(np.array(found, float), 2, 0)
    np.savez(sys.argv[2], called=called, wrong=left.astype(int))


if __name__ == "__main__":
    main()
