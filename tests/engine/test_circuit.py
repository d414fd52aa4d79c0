"""An endpoint that is out is tried ever more rarely, and is given up within a minute."""

import pytest

from catena.engine.circuit import OPENS_AFTER, RAREST_PROBE, Circuit
from catena.errors import LinkError
from catena.types import Failure, Vote

DEAD = Failure("transport", "the connection failed", retryable=True)


def fail(circuit, count, now=0.0):
    """Let so many calls of different prompts fail at a time."""
    for at in range(count):
        circuit.end([f"prompt {at}"], [DEAD], now, now)


def test_opens_and_probes():
    """After ten failures in a row only one call at a time is made, after pauses that double up to eight seconds."""
    circuit = Circuit("here")
    fail(circuit, OPENS_AFTER - 1)
    assert circuit.wait(0.0, 5) == 0
    fail(circuit, 1)
    assert circuit.opened
    assert circuit.wait(0.0, 1) is None
    now, pauses = 0.0, []
    while now < 30:
        pauses.append(circuit.wait(now, 0))
        now += pauses[-1]
        circuit.end(["prompt"], [DEAD], now, now)
    assert pauses == [0.5, 1.0, 2.0, 4.0, RAREST_PROBE, RAREST_PROBE, RAREST_PROBE]


@pytest.mark.parametrize("answer", [Vote("x"), Failure("rate_limit", "x"), Failure("no_label", "x")])
def test_an_answer_closes_it(answer):
    """Any answer, if only that the endpoint is busy, lets all calls go on."""
    circuit = Circuit("here")
    fail(circuit, 50)
    circuit.end(["prompt"], [answer], 1.0, 1.0)
    assert circuit.wait(1.0, 7) == 0
    fail(circuit, 5, 100.0)  # long after the first failure: it counts from the latest answer


def test_given_up_within_a_minute():
    """Calls that all fail for 45 seconds stop the run; the line has the most frequent errors with counts."""
    circuit = Circuit("http://there/v1")
    fail(circuit, 3, 0.0)
    fail(circuit, 3, 44.0)
    with pytest.raises(
        LinkError, match=r"http://there/v1: every call has failed for 46 s: the connection failed \(7 x\)"
    ):
        fail(circuit, 1, 46.0)


def test_hanging_counts_from_its_beginning():
    """Calls that time out after a minute have failed since they began."""
    circuit = Circuit("here")
    late = Failure("timeout", "no answer within 60 s", retryable=True)
    circuit.end(["a"], [late], 0.0, 60.0)
    circuit.end(["b"], [late], 0.0, 60.0)
    with pytest.raises(LinkError, match="failed for 60 s"):
        circuit.end(["c"], [late], 0.0, 60.0)


def test_one_poison_item_is_no_outage():
    """A prompt that fails every try, however long, ends as a failure of that item; the run can finish."""
    circuit = Circuit("here")
    for now in range(0, 1000, 60):
        circuit.end(["the one"], [DEAD], float(now), float(now + 60))
    assert circuit.wait(2000.0, 3) == 0


def test_failures_count_from_the_latest_success():
    """Calls that began long ago and time out together are no outage where others have just been answered."""
    circuit = Circuit("here")
    circuit.end(["fine"], [Vote("x")], 59.9, 60.0)
    late = Failure("timeout", "no answer within 60 s", retryable=True)
    for prompt in ("a", "b", "c"):
        circuit.end([prompt], [late], 0.0, 60.0)
    assert circuit.wait(60.0, 3) == 0
