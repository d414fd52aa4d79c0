"""What a report tells: the figures of evaluate and status, and what the votes add up to."""

import json

import numpy as np
import pytest
from reported import COSTS, LABELS, LINKS, facts_of, make_run, votes_of

from catena.cli import main
from catena.data.votes import read_votes
from catena.engine.results import decide_run, run_gold, run_votes
from catena.engine.run import task_of
from catena.evaluate.simulate import Simulator
from catena.ledger import Ledger, WritableLedger
from catena.types import Failure
from chains import answers_in, forget


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of the paper's rule, with gold."""
    return make_run(tmp_path_factory.mktemp("facts"), *votes_of())


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A finished run in which every link voted on every row."""
    return make_run(tmp_path_factory.mktemp("full"), *votes_of(), policy={"share": [0, 0, 1]})


def test_scores_are_those_of_evaluate(run, capsys):
    """Every figure that `catena evaluate` has is the same one."""
    assert main(["--json", "evaluate", str(run)]) == 0
    told = json.loads(capsys.readouterr().out)
    found = json.loads(json.dumps(facts_of(run)["scores"]))
    assert found == told


def test_counts_of_links_are_those_of_the_run(run):
    """Received, kept, forwarded and failed add up, and costs are the votes' own."""
    facts = facts_of(run)
    links = facts["run"]["links"]
    assert [link["received"] for link in links] == [150, 100, 50]
    assert sum(link["kept"] for link in links) == 150
    for link in links:
        assert link["failed"] == sum(each["rows"] for each in link["failed_by"]) > 0
        assert link["cost_usd"] == pytest.approx(COSTS[link["link"]] * link["received"])
    assert sum(facts["run"]["taken_from"]) == facts["run"]["labelled"]


def test_the_course_of_the_cost_ends_at_what_was_spent(run):
    """Its last point is the sum of all votes, link by link, and it never falls."""
    facts = facts_of(run)
    course = facts["course"]
    assert (course["unit"], course["votes"]) == ("USD", 300)
    for link in facts["run"]["links"]:
        mine = [point["amount"] for point in course["points"] if point["link"] == link["link"]]
        assert mine[-1] == pytest.approx(link["cost_usd"])
        assert mine == sorted(mine)


def test_the_cost_over_time_ends_at_what_was_spent_and_shows_a_pause(tmp_path):
    """Points of time that the ledger has noted: amounts grow with the votes, and not while nothing ran."""
    out = make_run(tmp_path, *votes_of(60))
    with WritableLedger(out) as ledger:
        most = sum(step.votes for step in ledger.course(200))
        points = [
            [0, 1000.0],
            [most // 4, 1010.0],
            [most // 2, 1020.0],
            [most // 2, 5000.0],
            [3 * most // 4, 5010.0],
            [most, 5020.0],
        ]
        ledger.put(clock={"every": 1.0, "points": points})
    facts = facts_of(out)
    course = facts["course"]
    assert (course["began"], course["seconds"]) == (1000.0, 4020.0)
    for link in facts["run"]["links"]:
        mine = {point["at"]: point["amount"] for point in course["times"] if point["link"] == link["link"]}
        assert mine[0.0] == 0.0
        assert mine[20.0] == mine[4000.0]
        assert mine[4020.0] == pytest.approx(link["cost_usd"])


def test_failures_are_counted_by_cause(run):
    """As many as the ledger's answers have, each cause with something that was said."""
    for link in facts_of(run)["run"]["links"]:
        answers = answers_in(run, link["link"]).values()
        counted = {}
        for answer in answers:
            if isinstance(answer, Failure):
                counted[answer.reason] = counted.get(answer.reason, 0) + 1
        assert {each["reason"]: each["rows"] for each in link["failed_by"]} == counted
        assert all(each["message"] for each in link["failed_by"])


def test_models_and_sources_are_counted(run):
    """Those of the answers that hold a label."""
    for link in facts_of(run)["origin"]["links"]:
        votes = [
            answer for answer in answers_in(run, link["link"]).values() if not isinstance(answer, Failure)
        ]
        assert link["models"] == [(link["link"], len(votes))]
        assert link["sources"] == [("recorded", len(votes))]


def test_probabilities_are_those_of_the_labels(run):
    """One pass over the votes tells what each answer says of its own label."""
    with Ledger(run) as ledger:
        votes = run_votes(ledger, task_of(ledger), chances=True)
    for at, name in enumerate(votes.links):
        for row, answer in answers_in(run, name).items():
            if isinstance(answer, Failure):
                assert np.isnan(votes.chance[at, row])
            else:
                assert votes.chance[at, row] == np.exp(answer.logprobs[LABELS.index(answer.label)])


def test_the_papers_rule_is_replayed_where_all_links_voted_on_all_rows(full):
    """Equal shares and `rank` as `catena simulate` has them, and each link alone on every row."""
    facts = facts_of(full)
    found = {point["name"]: point for point in facts["frontier"]["points"]}
    table = read_votes(full.parent / "votes")
    with Ledger(full) as ledger:
        table.gold[:] = run_gold(ledger, task_of(ledger))
    simulated = Simulator(table).run(LINKS, trials=0)
    paper = found["equal shares, rank (the paper's rule)"]
    assert paper["accuracy"] == pytest.approx(simulated["aggregates"]["rank"]["accuracy"])
    assert paper["cost"] == pytest.approx(simulated["cost_usd"])
    for at, name in enumerate(LINKS):
        right = (table.label[table.links.index(name)] == table.gold).mean()
        assert found[name]["accuracy"] == pytest.approx(right)
        assert found[name]["fair"]
        assert found[name]["cost"] == pytest.approx(150 * list(COSTS.values())[at])
    assert len(facts["frontier"]["orders"]) == 12  # six pairs and six triples


def test_a_link_that_saw_only_a_part_is_no_fair_point(run):
    """It is shown on what it saw, and says so; the first link saw everything."""
    points = {point["name"]: point for point in facts_of(run)["frontier"]["points"]}
    assert [points[name]["fair"] for name in LINKS] == [True, False, False]
    assert points["this run (the paper's rule)"]["accuracy"] is not None
    assert facts_of(run)["frontier"]["paper"] == "result"


def test_a_pilot_is_a_fair_sample(tmp_path):
    """Where the task names its pilot's items, links are compared on those of them that all voted on."""
    rows, gold = votes_of(200)
    out = make_run(tmp_path, rows, gold, policy={"share": [0, 0, 1]})
    with WritableLedger(out) as ledger:
        task = ledger.get("task")
        task["policy"] = {"share": [0.5, 0.3, 0.2], "pilot": [f"i{at}" for at in range(60)]}
        ledger.put(task=task)
    forget(out, "big", range(60, 200))
    with WritableLedger(out) as ledger:
        ledger.put(finished="again", stopped=None)
    found = facts_of_part(out)
    assert (found["items"], found["all_rows"], found["paper"]) == (60, False, "replayed")


def facts_of_part(out):
    """Return the frontier of a run whose votes are those of a pilot and the first links."""
    from catena.evaluate.assess import assess
    from catena.evaluate.describe import described
    from catena.evaluate.judged import judged_votes_of_run
    from catena.report.frontier import frontier

    with Ledger(out) as ledger:
        task = task_of(ledger)
        votes, gold = run_votes(ledger, task), run_gold(ledger, task)
        decision = decide_run(ledger, votes, task, provisional=True)
        result = decision.result("rank", votes.votes, task.judge())
        scores = assess(
            judged_votes_of_run(votes, decision, gold, "rank", result.label(), result.confidence())
        )
        links = [link | {"answered": 1} for link in described(ledger, task, votes, decision)["links"]]
        pilot = np.array([name in task.policy.pilot for name in ledger.ids()])
    return frontier(votes, gold, links, scores, paper=False, pilot=pilot)


def test_disagreements_are_counted_and_sampled(run):
    """As many as a count by hand finds; every sampled item has two different labels, and all its votes."""
    facts = facts_of(run, items=10, seed=3)
    said = {}
    for name in LINKS:
        for row, answer in answers_in(run, name).items():
            said.setdefault(row, {})[name] = None if isinstance(answer, Failure) else answer.label
    labels = {row: {label for label in votes.values() if label} for row, votes in said.items()}
    assert facts["conflicts"]["apart"] == sum(len(each) > 1 for each in labels.values())
    assert len(facts["sample"]) == 10
    for item in facts["sample"]:
        assert len(labels[item["row"] - 1]) > 1
        assert {vote["link"]: vote["label"] for vote in item["votes"]} == said[item["row"] - 1]


def test_the_commonest_differences_count_who_is_right(run):
    """A pair of labels, how often, and gold on either side."""
    facts = facts_of(run)
    with Ledger(run) as ledger:
        votes, gold = run_votes(ledger, task_of(ledger)), run_gold(ledger, task_of(ledger))
    for each in facts["conflicts"]["commonest"]:
        one, two = (votes.label[votes.links.index(name)] for name in each["links"])
        x, y = (LABELS.index(label) for label in each["labels"])
        here = (one == x) & (two == y)
        assert each["n"] == here.sum()
        assert each["right"] == [(gold[here] == x).sum(), (gold[here] == y).sum()]


def test_every_confidence_is_in_a_bin(run):
    """Kept and forwarded, those at the ends too."""
    facts = facts_of(run)
    for link, spread in zip(facts["run"]["links"], facts["confidences"], strict=True):
        counted = sum(each["kept"] + each["forwarded"] for each in spread["bins"])
        assert counted + spread["without"] == spread["n"] == link["received"] - link["failed"]


def test_equal_confidences_have_a_bin(tmp_path):
    """A link that is always equally sure is no error."""
    rows, gold = votes_of(30)
    out = make_run(tmp_path, [row | {"confidence": 0.5} for row in rows], gold)
    assert sum(each["kept"] for each in facts_of(out)["confidences"][0]["bins"]) > 0


def test_of_an_unfinished_run_gold_counts_where_there_is_a_vote(tmp_path):
    """Rows that no link has seen are not wrong yet."""
    out = make_run(tmp_path, *votes_of(90))
    for name in LINKS:
        forget(out, name, range(40, 90))
    facts = facts_of(out)
    assert (facts["finished"], facts["state"], facts["gold"]) == (False, "stopped", 40)
    assert facts["run"]["links"][0]["received"] == 40


def test_where_an_item_has_no_vote_it_stands_nowhere(tmp_path):
    """So no link has more items than have reached it, nor forwards less than none."""
    out = make_run(tmp_path, *votes_of(90))
    for name in LINKS:
        forget(out, name, range(40, 90))
    links = facts_of(out)["run"]["links"]
    assert sum(link["kept"] for link in links) == 40
    assert all(link["forwarded"] >= 0 for link in links)


def test_before_the_first_vote_the_rows_are_told(tmp_path):
    """Nothing is labelled, failed or forwarded yet."""
    out = make_run(tmp_path, *votes_of(30))
    for name in LINKS:
        forget(out, name, range(30))
    facts = facts_of(out)
    assert (facts["voted"], facts["gold"], facts["run"]["n"], facts["run"]["labelled"]) == (0, 0, 30, 0)
    assert {
        link[key] for link in facts["run"]["links"] for key in ("received", "kept", "forwarded", "failed")
    } == {0}
