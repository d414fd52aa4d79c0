"""catena certify TASK DATA: buys what a promise takes and nothing twice; the run's labels are the promised ones."""

import csv
import json
from collections import Counter
from fractions import Fraction

import pytest
import yaml

from catena.cli import main
from catena.evaluate.looks import draws_worth
from catena.task import load_task
from catena.testing.provider import FakeProvider
from chains import BATCH, LABELS, batches_in, calls, chain_text, labels_of, openai, texts, votes_in
from cli.test_certify import KEYS

N = 300
ACCURACY = {"small": 0.85, "middle": 0.9, "big": 0.97, "judge": 0.97}
PRICES = {"small": 1.0, "middle": 4.0, "big": 20.0, "judge": 40.0}
LIVE = {
    "ended", "bought", "paid_usd", "promises", "to_come", "failed", "strangers", "run", "task", "certificate",
}  # fmt: skip


@pytest.fixture(scope="module")
def gold():
    """The truth of each text."""
    return {text: LABELS[at % 3] for at, text in enumerate(texts(N))}


@pytest.fixture
def provider(gold):
    """A provider whose models differ in how often they are right."""
    with FakeProvider(labels=list(LABELS), gold=gold, accuracy=ACCURACY, sharpness=3.0) as running:
        yield running


def write_task(folder, provider, name="task.yaml", links=("small", "middle", "big", "judge"), **keys):
    """Write a task of these links."""
    chain = [openai(provider, link, price={"input": PRICES[link], "output": PRICES[link]}) for link in links]
    (folder / name).write_text(chain_text(*chain, **{"data": {"id": "id"}} | keys), "utf-8")


@pytest.fixture
def here(provider, gold, tmp_path, monkeypatch):
    """A folder with a task and its data."""
    monkeypatch.chdir(tmp_path)
    write_task(tmp_path, provider)
    write_data(tmp_path, gold)
    return tmp_path


def write_data(folder, gold, known=lambda at: True, name="data.csv"):
    """Write the rows, with gold where it is known."""
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "gold"])
        rows.writerows(
            (f"i{at}", text, label if known(at) else "") for at, (text, label) in enumerate(gold.items())
        )


def certify(capsys, *options, task="task.yaml", code=0, data="data.csv", chain="small,big"):
    """Run `catena certify` and return its document."""
    capsys.readouterr()
    words = ["certify", task, data, "--out", "run", "--chain", chain, "--agreement", "0.9", *options]
    assert main([*map(str, words), "--json"]) == code, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def kept_by(capsys):
    """Run the certified task, and return how many items each link kept."""
    capsys.readouterr()
    assert main(["run", "run/certified.yaml", "data.csv", "--out", "run", "--json"]) == 0
    return [link["kept"] for link in json.loads(capsys.readouterr().out)["links"]]


def check(capsys, *more, file="run/certificate.json"):
    """Check a certificate and return exit code and document."""
    capsys.readouterr()
    code = main(["check", "--certificate", file, *map(str, more), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_it_buys_what_the_promise_takes(here, provider, capsys):
    """Every early vote, the last link's on the drawn items, and nothing else; the counts are those of the document."""
    found = certify(capsys)
    assert set(found) == KEYS | LIVE
    assert found["certified"]
    assert calls(provider) == {"small": N, "big": found["sample"]["n"]}
    assert votes_in(here / "run") == {"small": N, "big": found["sample"]["n"]}
    assert found["bought"][0]["calls"] == N
    assert (
        found["to_come"]["calls"]
        <= found["escalated"]["n"]
        < found["to_come"]["calls"] + found["sample"]["n"]
    )


@pytest.mark.parametrize("chain", ["small,big", "small,middle,big"])
def test_the_run_has_the_promised_labels(here, provider, capsys, chain):
    """`catena run` with the written task buys the rest and no vote twice, keeps what was certified, and keeps the promise."""
    found = certify(capsys, chain=chain)
    before = calls(provider)
    assert check(capsys)[1]["labels"] == "none"
    assert main(["run", "run/certified.yaml", "data.csv", "--out", "run"]) == 0
    after = calls(provider)
    assert after["big"] - before["big"] == found["to_come"]["calls"]
    assert after - before == {"big": found["to_come"]["calls"]}
    assert set(Counter((call.model, call.key) for call in provider.calls()).values()) == {1}
    kept = Counter(row["link"] for row in labels_of(here / "run"))
    assert [kept[link["link"]] for link in found["links"]] == [link["kept"] for link in found["links"]]
    big = {text: max(LABELS, key=provider.distribution(f"{text}", "big").get) for text in texts(N)}
    wrong = sum(row["label"] != big[text] for row, text in zip(labels_of(here / "run"), big, strict=True))
    assert wrong <= found["allowed_wrong"] == N // 10
    code, document = check(capsys)
    assert (code, document["well"], document["labels"]) == (0, True, "certified")


def test_the_exported_votes_give_the_same_certificate(here, capsys, tmp_path):
    """Before the run and after it, from the vote table as from the ledger; made anew there, it is the same."""
    certify(capsys)
    said = json.loads((here / "run" / "certificate.json").read_text("utf-8"))
    for step in ("before", "after"):
        assert main(["results", "run", "--votes", step]) == 0
        assert check(capsys, step)[0] == 0
        words = ["certify", step, "--chain", "small,big", "--agreement", "0.9", "--certificate", "again.json"]
        assert main(words) == 0
        assert json.loads((here / "again.json").read_text("utf-8")) | {"votes": "run"} == said
        assert main(["run", "run/certified.yaml", "data.csv", "--out", "run"]) == 0


def test_the_task_is_ready_to_run(here, capsys):
    """Its links are those of the task, in the order of the chain, with thresholds and the label of the keeping link."""
    found = certify(capsys, chain="small,middle,big")
    task, given = load_task(here / "run" / "certified.yaml"), load_task(here / "task.yaml")
    assert task.chain == given.chain[:3]
    assert (task.instruction, task.labels, task.data) == (given.instruction, given.labels, given.data)
    said = [None if each == float("inf") else each for each in task.policy.threshold]
    assert said == found["policy"]["threshold"]
    assert task.aggregate == "last"


def test_the_same_command_again_buys_nothing(here, provider, capsys):
    """And says the same."""
    first = certify(capsys)
    before = calls(provider)
    assert certify(capsys) == first
    assert calls(provider) == before


def test_an_early_look_can_be_enough(here, provider, capsys):
    """A link that agrees far more often than is asked is passed on a part of the draws, and the others are not bought."""
    found = certify(capsys, "--agreement", "0.5", chain="big,judge")
    assert (found["certified"], found["links"][0]["kept"]) == (True, N)
    assert calls(provider)["judge"] == found["sample"]["n"] < draws_worth(N, Fraction(1, 2))


def test_people_are_told_before_and_on_the_way(here, capsys):
    """What it buys, then the feasibility bound, then the chain, the promise and what is to come, in this order."""
    words = ["certify", "task.yaml", "data.csv", "--out", "run", "--chain", "small,big", "--agreement", "0.9"]
    assert main(words) == 0
    said = capsys.readouterr().out
    order = [
        f"Asks small about {N} items, big about",
        "at most $",
        "Feasibility: small disagrees",
        "go on, for about $",
    ]
    order += ["keeps from", "With chance 90 %", "is paid", "catena run run/certified.yaml data.csv --out run"]
    places = [said.index(each) for each in order]
    assert places == sorted(places)


def test_links_that_cost_too_much_end_it_early(here, provider, capsys):
    """A link as dear as the last one saves nothing: the draw's first look is all that is bought, and no file is written."""
    found = certify(capsys, chain="judge,big")
    assert not found["certified"]
    assert "judge cost 2.00x of what big does" in found["ended"]
    assert found["feasibility"]["base_risk"] is not None
    assert calls(provider) == {"judge": found["sample"]["n"], "big": found["sample"]["n"]}
    assert found["sample"]["n"] < 20
    assert not (here / "run" / "certificate.json").exists()


def test_a_link_without_confidences_ends_it_early(here, provider, capsys):
    """It could keep nothing: it is not asked about all items, and the way on is named."""
    provider.control(no_logprobs=True)
    write_task(here, provider, "more.yaml", links=("small", "big"))
    found = certify(capsys, "--sample", "45", task="more.yaml")
    assert "it can keep nothing" in found["ended"]
    assert calls(provider)["small"] == found["sample"]["n"] < N / 7


def test_where_none_may_be_wrong_nothing_is_bought(here, provider, capsys):
    """All items would have to go on to the last link."""
    found = certify(capsys, "--agreement", "1")
    assert f"none of {N} labels may be wrong" in found["ended"]
    assert not calls(provider)


def test_gold_that_the_last_link_can_not_meet_ends_it_early(here, provider, capsys, gold):
    """Its own errors show on the first items drawn; the others are not bought."""
    write_task(here, provider, "gold.yaml", data={"id": "id", "gold": "gold"})
    other = {text: LABELS[at % 2] for at, text in enumerate(gold)}
    write_data(here, other, name="other.csv")
    wishes = ["--reference", "gold", "--sample", N]
    found = certify(capsys, *wishes, task="gold.yaml", data="other.csv")
    assert "big alone is wrong on" in found["ended"]
    assert calls(provider)["small"] == calls(provider)["big"] == found["sample"]["n"] < N / 7


def test_gold_in_the_rows_is_a_reference(here, provider, capsys):
    """The last link's own errors count then, and the run keeps the promise."""
    write_task(here, provider, "gold.yaml", data={"id": "id", "gold": "gold"})
    found = certify(capsys, "--reference", "gold", "--sample", 300, task="gold.yaml")
    assert found["certified"]
    assert main(["run", "run/certified.yaml", "data.csv", "--out", "run"]) == 0
    wrong = sum(row["label"] != row["gold"] for row in labels_of(here / "run"))
    assert wrong <= found["allowed_wrong"]
    assert check(capsys)[0] == 0


def fill_in(path, gold, count=None):
    """Do what a person does: write the labels of the first items of a file, or of all."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:count]:
        row["gold"] = gold[row["text"]]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_person_labels_what_is_drawn(here, provider, capsys, gold):
    """They are named and listed before anything is bought; filled in from the top, so far as a look needs it."""
    wishes = ["--reference", "gold", "--sample", "200"]
    error = certify(capsys, *wishes, code=3)["error"]
    assert "25 drawn items without gold: i" in error
    assert "run/to-label.csv" in error
    assert not calls(provider)
    fill_in(here / "run" / "to-label.csv", gold, 25)
    assert "drawn items without gold" in certify(capsys, *wishes, code=3)["error"]
    assert calls(provider)["small"] == N
    fill_in(here / "run" / "to-label.csv", gold)
    assert certify(capsys, *wishes)["certified"]
    assert main(["run", "run/certified.yaml", "data.csv", "--out", "run"]) == 0
    assert check(capsys)[1]["labels"] == "certified"
    said = json.loads((here / "run" / "certificate.json").read_text("utf-8"))
    assert said["gold"] == "run/to-label.csv"
    fill_in(here / "run" / "to-label.csv", dict.fromkeys(gold, LABELS[0]))
    assert check(capsys)[0] == 1


def test_somebodys_work_is_not_written_over(here, capsys, gold):
    """Another seed draws other items: the file that lists the first ones is left alone, and that is said."""
    certify(capsys, "--reference", "gold", code=3)
    before = (here / "run" / "to-label.csv").read_bytes()
    assert "lists other items" in certify(capsys, "--reference", "gold", "--seed", "1", code=2)["error"]
    assert (here / "run" / "to-label.csv").read_bytes() == before


def test_a_link_beside_the_chain_is_a_reference(here, provider, capsys):
    """It is asked about the drawn items only, as the last link is; the run's vote table has its votes too."""
    found = certify(capsys, "--reference", "judge", "--sample", "200", "--agreement", "0.85")
    assert found["certified"]
    assert calls(provider) == {"small": N, "big": found["sample"]["n"], "judge": found["sample"]["n"]}
    assert main(["run", "run/certified.yaml", "data.csv", "--out", "run"]) == 0
    assert calls(provider)["judge"] == found["sample"]["n"]
    assert main(["results", "run", "--votes", "votes"]) == 0
    assert check(capsys)[0] == check(capsys, "votes")[0] == 0


def test_budget(here, provider, capsys):
    """The task's cap ends it with exit code 3; with more money the same command goes on and buys nothing twice."""
    write_task(here, provider, "capped.yaml", budget={"calls": 200})
    found = certify(capsys, task="capped.yaml", code=3)
    assert "the budget is reached" in found["error"]
    assert sum(calls(provider).values()) <= 200
    assert certify(capsys)["certified"]
    assert set(Counter((call.model, call.key) for call in provider.calls()).values()) == {1}


def test_a_plans_votes_are_taken(here, provider, capsys):
    """A pilot's votes in the same folder are not bought again; and its plan's file can be the task."""
    assert (
        main(["plan", "task.yaml", "data.csv", "--out", "run", "--pilot", "60", "--budget", "0.9x:big"]) == 0
    )
    chain = ",".join(link.name for link in load_task(here / "run" / "plan.yaml").chain)
    found = certify(
        capsys, "--agreement", "0.8", task="run/plan.yaml", chain=chain if "," in chain else "small,big"
    )
    assert found["ended"] is None
    assert set(Counter((call.model, call.key) for call in provider.calls()).values()) == {1}


def test_several_promises_are_counted(here, capsys):
    """Whoever picks one of several is told what that costs; the same one again counts once."""
    assert certify(capsys)["promises"] == 1
    assert certify(capsys)["promises"] == 1
    capsys.readouterr()
    assert certify(capsys, "--seed", "1")["promises"] == 2
    words = [
        "certify",
        "task.yaml",
        "data.csv",
        "--out",
        "run",
        "--chain",
        "small,big",
        "--seed",
        "2",
        "--json",
    ]
    assert main(words) == 0
    assert "3 different promises were asked for in run" in capsys.readouterr().err


def test_other_labels_than_the_promised_ones_are_noticed(here, capsys):
    """A run of another policy on the same votes, and a changed file of labels: exit code 1, though the certificate holds."""
    certify(capsys)
    other = yaml.safe_load((here / "run" / "certified.yaml").read_text("utf-8"))
    other["policy"]["threshold"][0] *= 0.5
    (here / "other.yaml").write_text(yaml.safe_dump(other), "utf-8")
    assert main(["run", "other.yaml", "data.csv", "--out", "run"]) == 0
    code, document = check(capsys)
    assert (code, document["well"], document["labels"]) == (1, True, "other")
    assert main(["run", "run/certified.yaml", "data.csv", "--out", "run"]) == 0
    assert check(capsys)[0] == 0
    with (here / "run" / "labels.parquet").open("ab") as file:
        file.write(b"x")
    assert check(capsys)[1]["labels"] == "other"


def test_a_certificate_moves_with_its_run(here, capsys):
    """It lies beside the votes: the folder may have another name, or be seen from elsewhere."""
    certify(capsys)
    (here / "run").rename(here / "moved")
    code, document = check(capsys, file="moved/certificate.json")
    assert (code, document["votes"]) == (0, "moved")


def test_rows_that_came_later_are_no_part_of_it(here, capsys, gold):
    """A run over more rows is noticed: the promise is about the items that it was made for."""
    certify(capsys)
    write_data(here, gold | {"one more": LABELS[0]}, name="more.csv")
    assert main(["run", "run/certified.yaml", "more.csv", "--out", "run"]) == 2
    assert main(["run", "run/certified.yaml", "more.csv", "--out", "run", "--update"]) == 0
    code, document = check(capsys)
    assert code == 1
    assert any(f"items: {N}, not {N + 1}" in line for line in document["differs"])


def test_equal_texts_share_their_votes(here, provider, capsys, gold):
    """They are bought once, and the promise counts items."""
    some, half = list(gold.items()), N // 2
    with (here / "twice.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text"])
        rows.writerows((f"i{at}", some[at % half][0]) for at in range(N))
    found = certify(capsys, data="twice.csv")
    assert found["certified"]
    assert calls(provider)["small"] == half
    assert main(["run", "run/certified.yaml", "twice.csv", "--out", "run"]) == 0
    assert set(Counter((call.model, call.key) for call in provider.calls()).values()) == {1}
    assert check(capsys)[1]["labels"] == "certified"


def test_calibrated_links_stay_as_they_were_certified(here, provider, capsys):
    """`calibrate: N` shifts labels and confidences by the first rows; certificate, run and export agree on them."""
    text = yaml.safe_load((here / "task.yaml").read_text("utf-8"))
    text["chain"] = [link | {"calibrate": 50} for link in text["chain"]]
    (here / "calibrated.yaml").write_text(yaml.safe_dump(text), "utf-8")
    found = certify(capsys, task="calibrated.yaml")
    assert found["certified"]
    assert kept_by(capsys) == [link["kept"] for link in found["links"]]
    assert check(capsys)[1]["labels"] == "certified"
    assert main(["results", "run", "--votes", "votes"]) == 0
    assert check(capsys, "votes")[0] == 0


def test_batches_and_confidences_that_are_found_out(here, provider, capsys):
    """A link in batches, and one whose way to a confidence is found out first: the same promise, nothing made twice."""
    text = yaml.safe_load((here / "task.yaml").read_text("utf-8"))
    text["chain"][0] |= {"confidence": "auto"}
    text["chain"][2] |= BATCH
    (here / "other.yaml").write_text(yaml.safe_dump(text), "utf-8")
    found = certify(capsys, task="other.yaml")
    assert kept_by(capsys) == [link["kept"] for link in found["links"]]
    assert votes_in(here / "run")["big"] == found["sample"]["n"] + found["to_come"]["calls"]
    assert sum(batch.count for batch in batches_in(here / "run")) == votes_in(here / "run")["big"]
    assert check(capsys)[1]["labels"] == "certified"


def test_failures_stay_as_they_were_certified(here, provider, capsys):
    """What fails twice goes on and is not asked again, though the link works by then and is told to retry; that is said."""
    write_task(here, provider, "hasty.yaml", links=("small", "big"), max_chars=1000)
    provider.control(faults={"400": 0.3})
    found = certify(capsys, task="hasty.yaml")
    failed = {each["link"]: each["votes"] for each in found["failed"]}
    assert failed["small"] > 10
    provider.control(faults={})
    assert kept_by(capsys) == [link["kept"] for link in found["links"]]
    assert check(capsys)[1]["labels"] == "certified"
    capsys.readouterr()
    assert main(["run", "run/certified.yaml", "data.csv", "--out", "run", "--retry-failed"]) == 0
    assert "not asked again: a certificate counts on them as they are" in capsys.readouterr().err
    assert check(capsys)[1]["labels"] == "certified"


def test_another_model_after_the_draw_is_noticed(here, provider, capsys):
    """The drawn items were asked about first; where all others were answered by another model, they don't stand for them."""
    write_task(here, provider, "capped.yaml", budget={"calls": 30})
    certify(capsys, task="capped.yaml", code=3)
    provider.control(fingerprint="fp_other")
    words = ["certify", "task.yaml", "data.csv", "--out", "run", "--chain", "small,big", "--json"]
    assert main(words) == 0
    captured = capsys.readouterr()
    (stranger,) = json.loads(captured.out)["strangers"]
    assert (stranger["link"], "fp_other" in stranger["model"]) == ("small", True)
    assert "do not stand for the others" in captured.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--chain", "small,nobody"], "no link of the task: nobody"),
        (["--chain", "small"], "at least two links"),
        (["--chain", "small,small"], "names each of its links once"),
        (["--reference", "nobody"], "no link of the task: nobody"),
        (["--reference", "small"], "can't be the reference"),
        (["--reference", "gold", "--gold", "none.csv"], "none.csv"),
        (["--gold", "data.csv"], "--gold goes with --reference gold"),
        (["--agreement", "1.2"], "from 0 to 1"),
        (["--delta", "0"], "above 0 and below 1"),
        (["--sample", "0"], "at least one item"),
        (["--task", "no/x.yaml"], "no is no folder"),
        (["--certificate", "no/x.json"], "no is no folder"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_paid(here, provider, capsys, options, says):
    """In one line with exit code 2."""
    words = ["certify", "task.yaml", "data.csv", "--out", "run", "--chain", "small,big", *options]
    assert main(words) == 2
    assert says in capsys.readouterr().err
    assert not calls(provider)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["task.yaml"], "no folder of votes"),
        (["task.yaml", "data.csv"], "--out is needed"),
        ([".", "data.csv", "--out", "run"], "takes no DATA"),
        ([".", "--chain", "a,b", "--out", "run"], "--out and --gold go with TASK and DATA"),
        (["."], "--chain is needed"),
    ],
)
def test_the_two_forms_are_told_apart(here, capsys, words, says):
    """With the right one in the hint, and exit code 2."""
    assert main(["certify", *words]) == 2
    assert says in capsys.readouterr().err
