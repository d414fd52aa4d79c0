"""Keys stay in the environment: not in a file, a line, a process list, nor with a server that the task does not name."""

import json
import os
import stat
from collections import Counter
from pathlib import Path

import pytest
from odd_server import OddServer, completion
from soak import figure, many

from catena.testing.faults import ERRORS
from chains import LABELS, chain_text, finish, openai, rows_of, start, texts

CANARIES = {"CANARY_ONE": "sk-canary/7f3a9+first=", "CANARY_TWO": "sk-canary-second.e1c07"}
ROWS = 12
LOOKED_AT = {"runs": 0, "files": 0, "lines": 0}


def echo(fault):
    """Return a server's answer that shows what it was sent: the key in headers, bodies, and where a label should be."""
    asked = Counter()

    def answer(headers, body):
        asked[body] += 1
        key = headers.get("authorization", headers.get("Authorization", "")).removeprefix("Bearer ")
        model = json.loads(body)["model"]
        if model == "big":
            return (
                200,
                {"x-echo": key},
                completion("favor", system_fingerprint=key),
            )
        if fault in PASSING and asked[body] > 1:
            return 200, {}, completion(f"after all, {key}")
        if fault in ERRORS:
            status, kind, code, _ = ERRORS[fault]
            error = {
                "message": f"Incorrect API key provided: {key}. Bearer {key}",
                "type": kind,
                "code": code or key,
            }
            return status, {"x-echo": key, "retry-after": "0"}, json.dumps({"error": error}).encode()
        said = {
            "plain text": f"no JSON but {key}".encode(),
            "no label": completion(f"I saw {key}"),
            "in JSON": completion(json.dumps({"label": "favor", "note": key})),
            "cut": completion("x" * 60 + key),
            "refusal": completion(None, message={"role": "assistant", "content": None, "refusal": f"Not with {key}"}),
            "model": json.dumps({"model": key, "system_fingerprint": key, **json.loads(completion("favor"))} | {"model": key}).encode(),
            "label and key": completion("favor", finish_reason=key),
        }  # fmt: skip
        return 200, {"x-echo": key}, said[fault]

    return answer


PASSING = ("429", "500", "plain text")
FAULTS = ("401", "no label", "model", "500", "400", "403", "404", "429", "quota", "context_length", "content_filter", "plain text",
          "label and key", "refusal", "in JSON", "cut")  # fmt: skip


def files_under(folder):
    """Yield every file under a folder."""
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def hits(*places):
    """Return where a canary stands: in texts, or in files by their path; in any of its spellings."""
    found = []
    for place in places:
        content = place.read_bytes() if isinstance(place, Path) else place.encode()
        for key in CANARIES.values():
            spellings = [
                key,
                key.replace("/", "\\/"),
                json.dumps(key)[1:-1],
                key.removeprefix("sk-"),
                key[:9],
            ]
            found += [place for spelling in spellings if spelling.encode() in content]
    return found


@pytest.mark.parametrize("fault", FAULTS[: many(3, len(FAULTS))])
def test_no_key_comes_out(tmp_path, fault):
    """Though the provider shows the key wherever it can, it is in no file, no line, no export and no process list."""
    with OddServer(echo(fault)) as server:
        links = [
            openai(server, "small", api_key_env="CANARY_ONE", timeout=5.0),
            openai(server, "big", api_key_env="CANARY_TWO", timeout=5.0),
        ]
        (tmp_path / "task.yaml").write_text(
            chain_text(*links, data={"id": "id"}, policy={"share": [0.5, 0.5]})
        )
        rows_of(texts(ROWS)).to_csv(tmp_path / "rows.csv", index=False)
        out = tmp_path / "r"
        said = []
        lines = [
            ["--debug", "run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", out],
            ["--json", "check", tmp_path / "task.yaml", tmp_path / "rows.csv"],
            ["--debug", "status", out],
            ["results", out, "--votes", tmp_path / "votes"],
            ["results", out, "--out", tmp_path / "labels.csv", "--join"],
            ["report", out, "--out", tmp_path / "report.html", "--figures", tmp_path / "figures"],
        ]
        for line in lines:
            process = start(*line, **CANARIES)
            said.append(Path(f"/proc/{process.pid}/cmdline").read_bytes().decode())
            code, stdout, stderr = finish(process, timeout=120)
            assert code in {0, 1, 2, 3}, stderr
            said += [stdout, stderr]
        keys = {headers.get("authorization", headers.get("Authorization")) for headers, _ in server.requests}
    assert f"Bearer {CANARIES['CANARY_ONE']}" in keys  # it was sent, so it could have come out
    assert hits(*said, *files_under(tmp_path)) == []
    LOOKED_AT["runs"] += 1
    LOOKED_AT["files"] += len(files_under(tmp_path))
    LOOKED_AT["lines"] += sum(text.count("\n") for text in said)
    figure(
        "secrets", f"{', '.join(f'{n:,} {what}' for what, n in LOOKED_AT.items())} looked at: 0 canary keys"
    )


SHOWN = {
    "error": lambda shown: (400, {"x-echo": shown}, json.dumps({"error": {"message": shown}}).encode()),
    "refused": lambda shown: (401, {}, json.dumps({"error": {"message": shown}}).encode()),
    "overloaded": lambda shown: (503, {"retry-after": "0"}, shown.encode()),
    "answer": lambda shown: (200, {}, completion(shown)),
    "model": lambda shown: (200, {}, completion("favor", message={"role": "assistant", "content": "favor"}, finish_reason=shown)),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize("fault", list(SHOWN)[: many(2, len(SHOWN))])
def test_no_key_of_headers_and_query_comes_out(tmp_path, kind, fault):
    """Keys that go along in headers and in the address are hidden as the key itself is, wherever a server shows them."""

    def answer(headers, body):
        shown = f"{headers[':path']} {headers.get('x-gate-token')} {headers.get('api-key')}"
        return SHOWN[fault](shown)

    variables = CANARIES | {
        "CANARY_THREE": "Bearer gate/canary-three+77=",
        "CANARY_FOUR": "sig+canary/four=8",
    }
    with OddServer(answer) as server:
        link = openai(server, "small", api_key_env="CANARY_ONE", key_header="api-key", timeout=5.0) | {
            "kind": kind,
            "headers": {"X-Gate-Token": "$CANARY_THREE"},
            "query": {"sig": "$CANARY_FOUR", "api-version": "2024-10-21"},
        }
        (tmp_path / "task.yaml").write_text(chain_text(link, data={"id": "id"}))
        rows_of(texts(3)).to_csv(tmp_path / "rows.csv", index=False)
        said, out = [], tmp_path / "r"
        for line in (
            ["--debug", "run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", out],
            ["--debug", "--json", "check", tmp_path / "task.yaml", tmp_path / "rows.csv"],
            ["results", out, "--votes", tmp_path / "votes"],
        ):
            process = start(*line, **variables)
            said.append(Path(f"/proc/{process.pid}/cmdline").read_bytes().decode())
            code, stdout, stderr = finish(process, timeout=120)
            assert code in {0, 1, 2, 3}, stderr
            said += [stdout, stderr]
        sent = server.requests[0][0]
    low = {name.lower(): text for name, text in sent.items()}
    assert low["x-gate-token"] == variables["CANARY_THREE"]
    assert "canary" in low[":path"]
    content = [place.read_bytes() for place in files_under(tmp_path)] + [text.encode() for text in said]
    for secret in ("canary-three", "canary/four", "canary%2Ffour", "canary/7f3a9", "canary%2F7f3a9"):
        assert not [each for each in content if secret.encode() in each], secret


@pytest.mark.parametrize(
    "address", ["https://me:sk-canary-second.e1c07@host/v1", "https://host/v1?key=sk-canary-second.e1c07"]
)
def test_an_address_with_a_key_is_refused(tmp_path, address):
    """Before a run is begun, in a line that does not show it; so no ledger keeps it."""
    link = {"name": "small", "kind": "openai", "model": "m", "price": "free", "base_url": address}
    (tmp_path / "task.yaml").write_text(chain_text(link, labels=LABELS))
    rows_of(texts(3)).to_csv(tmp_path / "rows.csv", index=False)
    command = ["--debug", "run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "r"]
    code, out, err = finish(start(*command))
    assert code == 2
    assert "base_url" in err
    assert hits(out, err) == []
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("kind", "status"), [*[("openai", status) for status in (301, 302, 303, 307, 308)], ("anthropic", 307)]
)
def test_redirects_are_not_followed(tmp_path, kind, status):
    """A provider that points elsewhere stops the run, and is told; the other server is never asked, so it never sees the key."""
    with (
        OddServer(lambda headers, body: (200, {}, completion("favor"))) as thief,
        OddServer(
            lambda headers, body: (status, {"location": f"{thief.base_url}/chat/completions"}, b"")
        ) as server,
    ):
        link = openai(server, "small", api_key_env="CANARY_ONE") | {"kind": kind}
        (tmp_path / "task.yaml").write_text(chain_text(link, data={"id": "id"}))
        rows_of(texts(3)).to_csv(tmp_path / "rows.csv", index=False)
        command = ["run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "r"]
        code, _, err = finish(start(*command, **CANARIES))
        assert code == 3, err
        assert f"HTTP {status}: the server redirects to {thief.base_url}" in err
        assert 1 <= len(server.requests) <= 3
        assert not thief.requests


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_files_are_for_their_owner(tmp_path, mask):
    """The run's folder is 0700 and its files 0600 under any umask, from the first moment on, temporary ones too."""
    with OddServer(lambda headers, body: (200, {}, completion("favor"))) as server:
        (tmp_path / "task.yaml").write_text(chain_text(openai(server, "small"), data={"id": "id"}))
        rows_of(texts(300)).to_csv(tmp_path / "rows.csv", index=False)
        (tmp_path / "exports").mkdir()
        before = os.umask(mask)
        try:
            out = tmp_path / "r"
            process = start("run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", out)
            seen = {}
            while process.poll() is None:
                for path in out.rglob("*"):
                    seen.setdefault(path.name, set()).add(mode(path))
            code, _, err = finish(process)
            assert code == 0, err
            exports = tmp_path / "exports"
            for line in (["--votes", exports / "votes"], ["--out", exports / "labels.csv", "--join"]):
                code, _, err = finish(start("results", out, *line))
                assert code == 0, err
        finally:
            os.umask(before)
    assert mode(out) == 0o700
    assert {name: modes - {0o600, None} for name, modes in seen.items() if modes - {0o600, None}} == {}
    assert {"ledger.sqlite", "lock"} <= seen.keys()
    assert {mode(path) for path in files_under(exports)} == {0o600}


def mode(path):
    """Return a file's permissions; None where it is gone."""
    try:
        return stat.S_IMODE(path.lstat().st_mode)
    except FileNotFoundError:
        return None


def test_a_task_holds_no_key(tmp_path):
    """A key that stands in the task is refused as an unknown option, in a line that does not show it."""
    link = {
        "name": "small",
        "kind": "openai",
        "model": "m",
        "price": "free",
        "base_url": "http://localhost:1/v1",
    }
    (tmp_path / "task.yaml").write_text(chain_text(link | {"api_key": CANARIES["CANARY_ONE"]}, labels=LABELS))
    rows_of(texts(3)).to_csv(tmp_path / "rows.csv", index=False)
    command = ["--debug", "run", tmp_path / "task.yaml", tmp_path / "rows.csv", "--out", tmp_path / "r"]
    code, out, err = finish(start(*command))
    assert code == 2
    assert "api_key_env" in err
    assert hits(out, err) == []
