"""Label Studio's JSON of annotated tasks: https://labelstud.io/guide/task_format (read in November 2026).

A labelling config that fits what is written here::

    <View>
      <Text name="text" value="$text"/>
      <Choices name="label" toName="text" choice="single">
        <Choice value="favor"/> ...
      </Choices>
    </View>

Items are known again by `data.item_id`. Links become `predictions`, people `annotations`. Label Studio takes in annotations
of its own users alone, by their address or number: other names stand in the result's `meta`, which it keeps.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from catena.data.exchange import Given, Outgoing, iso, labels_of, objects, seconds, write_array

__all__ = ["read", "write"]

NAME, TO, WHO = "label", "text", "catena_who"


def write(path: Path, items: Iterable[Outgoing], labels: Sequence[str]) -> None:  # noqa: ARG001 - as in all formats
    """Write tasks; see `exchange.write_outgoing`."""
    write_array(path, map(_task, items))


def _task(item: Outgoing) -> dict[str, Any]:
    own = {"text": item.text, "item_id": item.item}
    data = {name: value for name, value in item.fields.items() if name not in own} | own
    if item.label is not None and "catena_label" not in data:
        data["catena_label"] = item.label
    predictions = [
        {"model_version": each.link, "result": [_result(each.label)]}
        | ({} if each.confidence is None else {"score": each.confidence})
        for each in item.suggestions
    ]
    annotations = []
    for each in item.given:
        made: dict[str, Any] = {"was_cancelled": False, "lead_time": each.seconds, "result": [_said(each)]}
        if "@" in each.who:
            made["completed_by"] = {"email": each.who}
        if each.at is not None:
            made |= {"created_at": iso(each.at), "updated_at": iso(each.at)}
        annotations.append(made)
    return {"id": item.row + 1, "data": data, "annotations": annotations, "predictions": predictions}


def _result(label: str) -> dict[str, Any]:
    return {"from_name": NAME, "to_name": TO, "type": "choices", "value": {"choices": [label]}}


def _said(given: Given) -> dict[str, Any]:
    meta: dict[str, Any] = {} if "@" in given.who else {WHO: given.who}
    if given.note:
        meta["text"] = [given.note]
    return _result(given.label) | ({"meta": meta} if meta else {})


def read(path: Path) -> Iterator[Given]:
    """Yield what people said; see `exchange.read_given`. Skipped (`was_cancelled`) annotations say nothing."""
    found, wrong = [], []
    for at, task in enumerate(objects(path, "Label Studio")):
        where = f"task {task.get('id', at + 1)}"
        data, annotations = task.get("data"), task.get("annotations", task.get("completions", []))
        name = data.get("item_id", data.get("id")) if isinstance(data, Mapping) else None
        if isinstance(name, bool) or not isinstance(name, str | int) or not isinstance(annotations, list):
            wrong.append(f"{where} has no data.item_id")
            continue
        for each in annotations:
            if not isinstance(each, Mapping):
                wrong.append(f"{where} has an annotation that is none")
            elif not each.get("was_cancelled"):
                said = _given(str(name), each, where)
                if said is None:
                    wrong.append(f"{where} has an annotation without exactly one choice")
                else:
                    found.append(said)
    labels_of(path, wrong, "not what Label Studio exports")
    yield from found


def _given(item: str, annotation: Mapping[str, Any], where: str) -> Given | None:
    results = annotation.get("result")
    chosen = [
        each
        for each in (results if isinstance(results, list) else [])
        if isinstance(each, Mapping) and each.get("type") == "choices"
    ]
    choices = [choice for each in chosen for choice in _choices(each)]
    if len(choices) != 1 or not isinstance(choices[0], str):
        return None
    lead = annotation.get("lead_time")
    return Given(
        item,
        _who(annotation, chosen[0]),
        choices[0],
        _note(chosen[0]),
        seconds(annotation.get("updated_at") or annotation.get("created_at")),
        float(lead) if isinstance(lead, int | float) and 0 <= lead < 1e9 else 0.0,
        where,
    )


def _choices(result: Mapping[str, Any]) -> list[Any]:
    value = result.get("value")
    choices = value.get("choices") if isinstance(value, Mapping) else None
    return choices if isinstance(choices, list) else []


def _note(result: Mapping[str, Any]) -> str:
    text = _meta(result).get("text")
    return "\n".join(each for each in text if isinstance(each, str)) if isinstance(text, list) else ""


def _who(annotation: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """Return who annotated: the name that we wrote, an address, or the number that Label Studio gives its users."""
    user = _meta(result).get(WHO) or annotation.get("completed_by")
    if isinstance(user, Mapping):
        user = user.get("email") or user.get("username") or user.get("id")
    return f"user {user}" if isinstance(user, int) else user if isinstance(user, str) and user else "somebody"


def _meta(result: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = result.get("meta")
    return meta if isinstance(meta, Mapping) else {}
