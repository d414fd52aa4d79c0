"""The batch endpoints of the fake provider, OpenAI's and Anthropic's: files, batches, their list, results, cancelling."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from catena.errors import InputError
from catena.testing.answers import call_key, chance, completion
from catena.testing.calls import Entry
from catena.testing.faults import choose, error_body
from catena.testing.messages import as_message, message_error
from catena.testing.wire import Request

if TYPE_CHECKING:
    from catena.testing.desk import Desk

__all__ = ["HELD", "BatchDesk", "Page", "is_batch_path"]

Page = tuple[int, bytes]
Flavour = Literal["openai", "anthropic"]
FILES, OPENAI, ANTHROPIC = "/v1/files", "/v1/batches", "/v1/messages/batches"

HELD: Page = (0, b"")
"""In the place of a page: nothing is answered."""


class Asked(msgspec.Struct, gc=False):
    """One request of a batch, and what became of it."""

    custom_id: str
    body: dict[str, Any]
    n: int
    key: str
    fault: str = ""
    done: bool = False


class Batch(msgspec.Struct, gc=False):
    """A batch; its requests are worked on when it ends."""

    id: str
    flavour: Flavour
    created: float
    asked: list[Asked]
    metadata: dict[str, Any] | None = None
    input_file: str = ""
    invalid: str = ""
    cancelled: float | None = None
    ended: float | None = None


def is_batch_path(path: str) -> bool:
    """Whether a path is one of the batch endpoints."""
    return any(path == each or path.startswith(f"{each}/") for each in (FILES, OPENAI, ANTHROPIC))


class BatchDesk:
    """Keeps files and batches, and answers for them.

    Args:
        desk: Has the settings, the model and the books.
    """

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk
        self._files: dict[str, bytes] = {}
        self.batches: dict[str, Batch] = {}
        self.held = 0

    def serve(self, request: Request) -> Page:
        """Answer a request to a batch endpoint; `HELD` where the settings keep it waiting for ever."""
        path, method = request.path, request.method
        flavour: Flavour = "anthropic" if path.startswith(ANTHROPIC) else "openai"
        root = ANTHROPIC if flavour == "anthropic" else FILES if path.startswith(FILES) else OPENAI
        name, _, action = path.removeprefix(root).lstrip("/").partition("/")
        error: Callable[..., Page] = message_error if flavour == "anthropic" else error_body
        if not self._desk.admits(request):
            return error("401")
        if {name, f"{name}/{action}"} & set(self._desk.settings.forgotten):
            return error("404", f"There is no {name}.")
        try:
            match method, root == FILES, bool(name), action:
                case "POST", True, False, "":
                    return self._upload(request)
                case "GET", True, True, "content":
                    return self._results(self._files.get(name))
                case "POST", False, False, "":
                    return self._create(request, flavour)
                case "GET", False, False, "":
                    return self._list(request, flavour)
                case "GET", False, True, "":
                    return self._page(self.batches[name])
                case "POST", False, True, "cancel":
                    return self._cancel(self.batches[name])
                case "GET", False, True, "results":
                    self._page(self.batches[name])
                    return self._results(self._files.get(f"{name}-results"))
        except KeyError:
            return error("404", f"There is no {name}.")
        except (InputError, msgspec.MsgspecError) as refused:
            return error("400", str(refused))
        return error("404", f"There is no {method} {path}.")

    def _hold(self, where: str) -> bool:
        if self._desk.settings.hold != where:
            return False
        self.held += 1
        return True

    def _upload(self, request: Request) -> Page:
        if self._hold("upload"):
            return HELD
        parts = multipart(request)
        if parts.get("purpose") != b"batch":
            raise InputError("purpose must be batch.")
        name = f"file-{len(self._files) + 1}"
        self._files[name] = parts["file"]
        return 200, msgspec.json.encode(
            {"id": name, "object": "file", "purpose": "batch", "bytes": len(parts["file"])}
        )

    def _create(self, request: Request, flavour: Flavour) -> Page:
        if self._hold("create"):
            return HELD
        given = msgspec.json.decode(request.body, type=dict[str, Any])
        if flavour == "anthropic":
            pairs = [(each["custom_id"], each["params"]) for each in given["requests"]]
        else:
            lines = self._files[given["input_file_id"]].splitlines()
            pairs = [(each["custom_id"], each["body"]) for each in map(msgspec.json.decode, lines)]
        invalid = self._complaint([name for name, _ in pairs])
        if invalid and flavour == "anthropic":
            raise InputError(invalid)
        batch = Batch(
            id=f"{'msgbatch' if flavour == 'anthropic' else 'batch'}_{len(self.batches) + 1}",
            flavour=flavour,
            created=time.time(),
            asked=[] if invalid else [self._ask(name, body) for name, body in pairs],
            metadata=given.get("metadata"),
            input_file=given.get("input_file_id", ""),
            invalid=invalid,
        )
        self.batches[batch.id] = batch
        self._desk.ledger.append(Entry("batch", len(pairs), time.time(), batch.id, flavour, 0, 0))
        return HELD if self._hold("created") else self._page(batch)

    def _complaint(self, names: list[str]) -> str:
        has = self._desk.settings
        if has.batch_invalid:
            return has.batch_invalid
        if len(names) > has.most_batch:
            return f"The batch has {len(names)} requests, more than {has.most_batch}."
        return "custom_id must be unique." if len(set(names)) < len(names) else ""

    def _ask(self, name: str, body: dict[str, Any]) -> Asked:
        """Enter a request into the books and choose its fault."""
        desk = self._desk
        key = call_key(str(body.get("model", "")), body.get("messages"))
        attempt = desk.attempts[key] = desk.attempts.get(key, 0) + 1
        desk.requests += 1
        desk.ledger.append(
            Entry("request", desk.requests, time.time(), key, str(body.get("model", "")), attempt, 0)
        )
        fault = choose(desk.settings.batch_faults, chance(desk.settings.seed, "batch", key, attempt))
        return Asked(name, body, desk.requests, key, fault)

    # -- how a batch is -----------------------------------------------------------------------------------------

    def _advance(self, batch: Batch) -> None:
        """End a batch whose time has come, or that is cancelled, and write its results."""
        if batch.ended is not None or batch.invalid:
            return
        has, now = self._desk.settings, time.time()
        if batch.cancelled is None and now - batch.created < has.batch_seconds:
            return
        share = 1.0 if batch.cancelled is None else has.batch_done
        for asked in batch.asked[: int(share * len(batch.asked))]:
            asked.done = True
        batch.ended = now
        outcomes = list(self._outcomes(batch))
        if self._desk.settings.batch_shuffle:
            outcomes.sort(key=lambda each: chance(self._desk.settings.seed, each))
        kinds = ("results",) if batch.flavour == "anthropic" else ("output", "error")
        for kind in kinds:
            lines = [line for where, line in outcomes if where == kind]
            if lines or kind == "results":
                self._files[f"{batch.id}-{kind}"] = b"".join(line + b"\n" for line in lines)

    def _outcomes(self, batch: Batch) -> Iterator[tuple[str, bytes]]:
        """Yield the lines of the results, each with the file that it belongs to."""
        write = anthropic_line if batch.flavour == "anthropic" else openai_line
        for asked in batch.asked:
            if not asked.done:
                yield write(asked, "cancelled", None)
                continue
            if asked.fault == "missing":
                continue
            if asked.fault in {"errored", "invalid", "expired"}:
                yield write(asked, asked.fault, None)
                continue
            line = write(asked, "", self._answer(asked, batch.flavour))
            if asked.fault == "garbled":
                yield line[0], line[1][: len(line[1]) // 2]
                continue
            yield line
            if asked.fault == "duplicate":
                yield line
            if asked.fault == "unknown":
                yield line[0], line[1].replace(asked.custom_id.encode(), f"x{asked.custom_id[1:]}".encode())

    def _answer(self, asked: Asked, flavour: Flavour) -> dict[str, Any]:
        desk = self._desk
        reply = desk.answer(asked.body)
        entry = Entry("answer", asked.n, time.time(), asked.key, str(asked.body.get("model", "")), 1, 0)
        entry.status, entry.usable, entry.fault = 200, True, asked.fault
        desk.ledger.append(entry)
        desk.answered += 1
        if flavour == "anthropic":
            return as_message(reply, asked.body, asked.n)
        style = {"fingerprint": desk.settings.fingerprint, "no_logprobs": desk.settings.no_logprobs}
        return completion(reply, asked.body, number=asked.n, created=int(time.time()), **style)

    def _cancel(self, batch: Batch) -> Page:
        self._advance(batch)
        if batch.ended is None:
            batch.cancelled = time.time()
        return self._page(batch)

    def _list(self, request: Request, flavour: Flavour) -> Page:
        """Return a page of the batches, newest first."""
        query = request.query
        known = self.batches.keys() - set(self._desk.settings.forgotten)
        mine = [
            each for each in reversed(self.batches.values()) if each.flavour == flavour and each.id in known
        ]
        after = query.get("after") or query.get("after_id")
        start = next((at + 1 for at, batch in enumerate(mine) if batch.id == after), 0)
        page = mine[start : start + int(query.get("limit", "20"))]
        data = [self._shown(batch) for batch in page]
        ends = {"first_id": page[0].id, "last_id": page[-1].id} if page else {}
        return 200, msgspec.json.encode({"data": data, "has_more": start + len(page) < len(mine), **ends})

    def _page(self, batch: Batch) -> Page:
        return 200, msgspec.json.encode(self._shown(batch))

    def _shown(self, batch: Batch) -> dict[str, Any]:
        self._advance(batch)
        return self._shown_anthropic(batch) if batch.flavour == "anthropic" else self._shown_openai(batch)

    def _shown_openai(self, batch: Batch) -> dict[str, Any]:
        expired = any(asked.done and asked.fault == "expired" for asked in batch.asked)
        ended = "cancelled" if batch.cancelled else "expired" if expired else "completed"
        files = {f"{kind}_file_id": f"{batch.id}-{kind}" for kind in ("output", "error")}
        done = sum(asked.done for asked in batch.asked)
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "input_file_id": batch.input_file,
            "completion_window": "24h",
            "created_at": int(batch.created),
            "status": "failed" if batch.invalid else ended if batch.ended else "in_progress",
            "errors": {"data": [{"code": "invalid", "line": 1, "message": batch.invalid}]}
            if batch.invalid
            else None,
            **{name: file if file in self._files else None for name, file in files.items()},
            "request_counts": {"total": len(batch.asked), "completed": done, "failed": 0},
            "metadata": batch.metadata,
        }

    def _shown_anthropic(self, batch: Batch) -> dict[str, Any]:
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        names = {"errored": "errored", "invalid": "errored", "expired": "expired"}
        for asked in batch.asked:
            name = names.get(asked.fault, "succeeded") if asked.done else "canceled"
            counts["processing" if batch.ended is None else name] += 1
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended"
            if batch.ended
            else "canceling"
            if batch.cancelled
            else "in_progress",
            "request_counts": counts,
            "created_at": moment(batch.created),
            "ended_at": moment(batch.ended),
            "cancel_initiated_at": moment(batch.cancelled),
            "archived_at": None,
            "results_url": f"http://elsewhere.invalid/{batch.id}" if batch.ended else None,
        }

    def _results(self, body: bytes | None) -> Page:
        if body is None:
            raise KeyError
        return HELD if self._hold("results") else (200, body)


def openai_line(asked: Asked, outcome: str, answer: dict[str, Any] | None) -> tuple[str, bytes]:
    """Write a line of one of OpenAI's two files."""
    head = {"id": f"batch_req_{asked.n}", "custom_id": asked.custom_id}
    if answer is not None:
        response = {"status_code": 200, "request_id": f"req_{asked.n}", "body": answer}
        return "output", msgspec.json.encode({**head, "response": response, "error": None})
    if outcome in {"expired", "cancelled"}:
        error = {"code": f"batch_{outcome}", "message": "This request could not be executed."}
        return "error", msgspec.json.encode({**head, "response": None, "error": error})
    status, body = error_body("500" if outcome == "errored" else "400")
    response = {"status_code": status, "request_id": f"req_{asked.n}", "body": msgspec.Raw(body)}
    return "error", msgspec.json.encode({**head, "response": response, "error": None})


def anthropic_line(asked: Asked, outcome: str, answer: dict[str, Any] | None) -> tuple[str, bytes]:
    """Write a line of Anthropic's results."""
    if answer is not None:
        result: dict[str, Any] = {"type": "succeeded", "message": answer}
    elif outcome in {"expired", "cancelled"}:
        result = {"type": outcome.replace("cancelled", "canceled")}
    else:
        error = message_error("500" if outcome == "errored" else "400")[1]
        result = {"type": "errored", "error": msgspec.Raw(error)}
    return "results", msgspec.json.encode({"custom_id": asked.custom_id, "result": result})


def multipart(request: Request) -> dict[str, bytes]:
    """Return the parts of a form by their names."""
    boundary = request.headers.get("content-type", "").partition("boundary=")[2].strip('"').encode()
    parts = {}
    for part in request.body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = head.partition(b' name="')[2].partition(b'"')[0].decode()
        parts[name] = content.removesuffix(b"\r\n")
    return parts


def moment(seconds: float | None) -> str | None:
    """Return a point of time as RFC 3339 has it."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
