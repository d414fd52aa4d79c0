"""A finished run and its page, for the tests that change neither."""

import pytest

from tables import vote, write_votes
from web_session import serving


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Return the folder of a finished run of two links over 120 rows, with gold; no call was made for it."""
    from catena.engine.run import Run
    from chains import chain_task, rows_of

    folder = tmp_path_factory.mktemp("finished")
    ids = [f"i{at}" for at in range(120)]
    votes = []
    for at, name in enumerate(ids):
        small = None if at % 13 == 5 else "favor" if at % 3 else "against"
        big = None if at % 13 == 5 and at % 2 else "favor" if at % 4 else "against"
        said = {"label_logprobs": [-2.0, -0.2], "cost_usd": 0.001, "latency_ms": 12.0, "prompt_tokens": 40}
        error = {} if small else {"error": "no_label: answered 'perhaps', which is none of: against, favor"}
        votes.append(vote(name, "small", small, None if small is None else at / 10, **said, **error))
        error = {} if big else {"error": "cut: the answer was cut"}
        votes.append(vote(name, "big", big, None if big is None else 1 + at / 10, **said, **error))
    write_votes(folder / "votes", votes, ids)
    chain = [{"name": name, "kind": "replay", "votes": str(folder / "votes")} for name in ("small", "big")]
    rows = rows_of([f"The {at}th text about harbours and parks" for at in range(120)])
    rows["id"], rows["topic"], rows["stance"] = (
        ids,
        "parks",
        ["favor" if at % 4 else "against" for at in range(120)],
    )
    task = chain_task(*chain, labels=("against", "favor"), data={"id": "id", "gold": "stance"})
    Run(task, rows, folder / "run").execute()
    return folder / "run"


@pytest.fixture(scope="module")
def page(finished):
    """Return the page on the finished run, entered."""
    with serving(finished) as served:
        served.enter()
        yield served
