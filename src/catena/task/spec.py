"""A task: what to ask, about which columns, of which links, and how to decide."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from catena.aggregate import Calibrated, Judge
from catena.routing import Policy
from catena.types import Example

__all__ = ["BudgetSpec", "Columns", "Draw", "Learned", "LinkSpec", "Schedule", "TaskSpec"]

Schedule = Literal["pipelined", "sequential"]


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which columns of the data are what.

    Args:
        text: The text to label.
        id: A distinct name for every row; without it rows are numbered from 1.
        target: What the question is about, `{{ target }}` in templates.
        gold: The true label where known; an empty cell means unknown.
    """

    text: str = "text"
    id: str | None = None
    target: str | None = None
    gold: str | None = None


class BudgetSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a whole run may use, earlier parts and retries included.

    Args:
        usd: US dollars.
        tokens: Tokens of prompts and answers.
        calls: Calls.
    """

    usd: Annotated[float, msgspec.Meta(ge=0)] | None = None
    tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    calls: Annotated[int, msgspec.Meta(ge=0)] | None = None


class Draw(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which rows of a file become examples. The task's columns are meant, `gold` among them.

    Args:
        file: The file (`from` in task files); it may be the data file.
        count: How many examples.
        draw: `balanced`: the labels have equally many, rare ones too; `random`: any rows with gold; `nearest`: for each
            row the most similar ones, as many of each label.
        seed: Which ones. Not the task's: that may change without another question being asked.
        model: What says how similar texts are, with `nearest`; as `model` of links of `kind: embedding`.
    """

    file: Annotated[str, msgspec.Meta(min_length=1)] = msgspec.field(name="from")
    count: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    draw: Literal["balanced", "random", "nearest"] = "balanced"
    seed: int = 0
    model: Annotated[str, msgspec.Meta(min_length=1)] = "all-MiniLM-L6-v2"


class LinkSpec(msgspec.Struct, frozen=True):
    """One entry of `chain`: the options are checked by the link's own kind."""

    name: str
    kind: str
    options: Mapping[str, Any] = {}


class TaskSpec(msgspec.Struct, frozen=True):
    """A whole task, validated.

    Args:
        name: What to call it.
        instruction: The question; a template over the row's columns.
        labels: Descriptions (may be empty) by label, in order.
        data: Which columns are what.
        chain: The links in order, usually cheap to dear.
        policy: Which link keeps an item; equal shares (the paper's) unless said.
        aggregate: `rank` (the paper's), `last`, `minmax` or `calibrated`.
        calibrated: What the aggregate `calibrated` has learned; also what `rank_by: calibrated` ranks by.
        seed: Settles ties.
        prompt: Template of the whole question, where the default one does not do.
        system: System message, where there is one.
        max_chars: A longer text is a failed row, without a call.
        budget: What the run may use; None for no cap.
        abstain: What models may answer instead of a label; None where they must name one.
        examples: What models are shown beside each question, or where it is drawn from.
        schedule: `pipelined`: all links work at the same time; `sequential`: one after another, each freed before the
            next is loaded. The labels are the same.
    """

    name: str
    instruction: str
    labels: Mapping[str, str]
    data: Columns
    chain: tuple[LinkSpec, ...]
    policy: Policy = Policy()
    aggregate: Literal["rank", "last", "minmax", "calibrated"] = "rank"
    calibrated: Calibrated | None = None
    seed: int = 0
    prompt: str | None = None
    system: str | None = None
    max_chars: int = 200_000
    budget: BudgetSpec | None = None
    abstain: str | None = None
    examples: tuple[Example, ...] | Draw = ()
    schedule: Schedule = "pipelined"

    def judge(self) -> Judge:
        """Return the policy with what it ranks by.

        Raises:
            InputError: They don't fit each other.
        """
        names = [link.name for link in self.chain]
        return Judge(self.policy, names, list(self.labels), self.calibrated)


class Learned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An aggregate with what it has learned."""

    calibrated: Calibrated
