"""Results are matched by custom_id only: in any order, doubled, missing or unknown, each question has one outcome."""

from hypothesis import given
from hypothesis import strategies as st

from catena.engine.harvest import Harvest
from catena.links.batch import Result, custom_id, key_of
from catena.types import Failure, Usage, Vote

SHARD, OTHER = "0a" * 12, "0b" * 12
KEYS = [bytes([at]) * 16 for at in range(12)]
FINAL = Failure("bad_request", "HTTP 400")
AGAIN = Failure("server", "HTTP 500", retryable=True)
keys = st.sampled_from(KEYS)


def answer_of(key):
    """Return the vote that belongs to a key and no other."""
    return Vote("a", text=key.hex(), usage=Usage(1, 1, 0.25))


def results_about(key):
    """Return what may be said of a key."""
    name = custom_id(SHARD, key)
    return [
        Result(name, "answered", answer_of(key)),
        Result(name, "errored", FINAL),
        Result(name, "errored", AGAIN),
        Result(name, "expired"),
        Result(name, "cancelled"),
    ]


ours = keys.flatmap(lambda key: st.sampled_from(results_about(key)))
strangers = st.one_of(
    keys.map(lambda key: Result(custom_id(OTHER, key), "answered", answer_of(key))),
    st.text().map(lambda name: Result(f"!{name}", "answered", answer_of(KEYS[0]))),
    st.just(Result(None, "errored")),
    st.just(Result(custom_id(SHARD, b"\xff" * 16), "answered", answer_of(KEYS[0]))),
)


@given(st.lists(st.one_of(ours, ours, strangers)))
def test_every_question_has_one_outcome(results):
    """Whatever comes: each key gets at most one answer, its own; the counts add up; the rest is unfinished."""
    harvest = Harvest(SHARD, frozenset(KEYS))
    got = [found for result in results if (found := harvest.take(result))]
    harvest.end()
    answered = dict(got)
    assert len(answered) == len(got)
    assert all(answer in (answer_of(key), FINAL) for key, answer in got)
    assert answered.keys() | harvest.unfinished.keys() == set(KEYS)
    assert not answered.keys() & harvest.unfinished.keys()
    assert all(failure.retryable for failure in harvest.unfinished.values())
    counts = dict(harvest.counts)
    extra = counts.pop("unknown", 0) + counts.pop("duplicate", 0)
    assert sum(counts.values()) == len(KEYS)
    assert extra + len(KEYS) - counts.get("missing", 0) == len(results)
    assert counts.get("answered", 0) == sum(isinstance(answer, Vote) for answer in answered.values())


@given(st.permutations([result for key in KEYS[:4] for result in results_about(key)]))
def test_order_does_not_matter_for_what_is_unfinished(results):
    """Where a final result is among those of a question, it is not asked again, wherever it stands."""
    harvest = Harvest(SHARD, frozenset(KEYS[:4]))
    got = [found for result in results if (found := harvest.take(result))]
    harvest.end()
    assert {key for key, _ in got} == set(KEYS[:4])
    assert not harvest.unfinished


@given(st.binary(min_size=16, max_size=16), st.text())
def test_a_custom_id_names_its_key(key, text):
    """A key comes back from its own custom_id, which providers take, and from no other text."""
    name = custom_id(SHARD, key)
    assert key_of(SHARD, name) == key
    assert len(name) <= 64
    assert name.replace("-", "").isalnum()
    assert key_of(OTHER, name) is None
    assert key_of(SHARD, name.upper()) in {None, key if name == name.upper() else None}
    assert key_of(SHARD, text) is None or text.startswith(SHARD)


def test_costs_add_up():
    """What the answers used is the sum over all that were paid for, each once."""
    harvest = Harvest(SHARD, frozenset(KEYS[:2]))
    for _ in range(2):
        for key in KEYS[:2]:
            harvest.take(Result(custom_id(SHARD, key), "answered", answer_of(key)))
    assert harvest.used.cost_usd == 0.5
