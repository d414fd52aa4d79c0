"""Argilla's JSON of records, as its SDK 2 writes and reads it (`dataset.records.to_json`, `from_json`).

Source: argilla/records/_resource.py of argilla-io/argilla (read in November 2026). A dataset that fits has a TextField `text`
and a LabelQuestion `label`. A record has room for one suggestion, so it is the last link's; what each link said is in the
metadata. Responses name users by UUID: so that our people keep their names, these are in the metadata too.
"""

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from catena.data.exchange import Given, Outgoing, iso, labels_of, objects, seconds, write_array

__all__ = ["read", "write"]

QUESTION = "label"
PEOPLE = "catena_people"
SPACE = uuid.UUID("6d3b4f8e-4c1f-5d0a-9a52-2b9f6a1c7e10")
"""Makes the same UUID of the same name, each time."""


def write(path: Path, items: Iterable[Outgoing], labels: Sequence[str]) -> None:  # noqa: ARG001 - as in all formats
    """Write records; see `exchange.write_outgoing`."""
    write_array(path, map(_record, items))


def _record(item: Outgoing) -> dict[str, Any]:
    metadata: dict[str, Any] = {f"vote_{each.link}": each.label for each in item.suggestions}
    if item.label is not None:
        metadata["catena_label"] = item.label
    people = {
        str(uuid.uuid5(SPACE, each.who)): {
            "name": each.who,
            "note": each.note,
            "at": None if each.at is None else iso(each.at),
            "seconds": each.seconds,
        }
        for each in item.given
    }
    if people:
        metadata[PEOPLE] = json.dumps(people, ensure_ascii=False)
    last = item.suggestions[-1] if item.suggestions else None
    suggestion = {QUESTION: {"value": last.label, "score": None, "agent": last.link}} if last else {}
    responses = [{"value": each.label, "user_id": str(uuid.uuid5(SPACE, each.who))} for each in item.given]
    fields = {name: value or "" for name, value in item.fields.items() if name != "text"}
    return {
        "id": item.item,
        "fields": {"text": item.text} | fields,
        "metadata": metadata,
        "suggestions": suggestion,
        "responses": {QUESTION: responses} if responses else {},
        "vectors": {},
        "_server_id": None,
    }


def read(path: Path) -> Iterator[Given]:
    """Yield what people said; see `exchange.read_given`. Of a record with several questions, `label` counts."""
    found, wrong = [], []
    for at, record in enumerate(objects(path, "Argilla")):
        name, responses = record.get("id"), record.get("responses") or {}
        where = f"record {at + 1}"
        if not isinstance(name, str | int) or "fields" not in record or not isinstance(responses, Mapping):
            wrong.append(f"{where} has no id, fields or responses")
            continue
        people = _people(record.get("metadata"))
        answers = responses.get(QUESTION, next(iter(responses.values())) if len(responses) == 1 else [])
        for each in answers if isinstance(answers, list) else [answers]:
            value = each.get("value") if isinstance(each, Mapping) else None
            if not isinstance(value, str):
                wrong.append(f"{where} has a response that is no label")
                continue
            user = str(each.get("user_id") or "somebody")
            person = people.get(user, {})
            spent = person.get("seconds")
            found.append(
                Given(
                    str(name),
                    str(person.get("name") or user),
                    value,
                    str(person.get("note") or ""),
                    seconds(person.get("at")),
                    float(spent) if isinstance(spent, int | float) and 0 <= spent < 1e9 else 0.0,
                    where,
                )
            )
    labels_of(path, wrong, "not what Argilla exports")
    yield from found


def _people(metadata: object) -> dict[str, dict[str, Any]]:
    text = metadata.get(PEOPLE) if isinstance(metadata, Mapping) else None
    try:
        people = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return (
        {user: said for user, said in people.items() if isinstance(said, dict)}
        if isinstance(people, dict)
        else {}
    )
