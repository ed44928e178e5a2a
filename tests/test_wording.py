"""Why a value cannot be taken is said in plain words: what to send, not how it was checked."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest
from http_calls import PLACE, Start, post

import coordinator.api
from coordinator.api.demo_inputs import StrikeBody
from coordinator.api.inputs import Input, NextBody, ReleaseBody, validated
from coordinator.api.operator_inputs import VoidBody
from coordinator.api.problems import Problem

RELEASE = {"sequenceNumber": 1, "siteId": "a", "partitionId": "b", "reason": "a slip"}
VOID = {"document_number": "A-1", "reason": "a good reason"}
STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 10**30, float("nan"), "", " ", "x" * 70_000, "\0", "\ud800", "no"),
    *([], ["x"] * 100, [[]], {}, {"a": {}}, {str(at): "x" for at in range(100)}, b"x", "1" * 5_000),
)
NOT_OURS = re.compile(
    r"should|required|valid |Input|String|pydantic|not allowed|permitted", re.IGNORECASE
)


def told(model: type[Input], fields: dict[str, Any]) -> dict[str, str]:
    """Return what is said of each field."""
    try:
        validated(model, fields)
    except Problem as refused:
        return {error.field: error.message for error in refused.errors}
    return {}


@pytest.mark.parametrize(
    ("model", "fields", "field", "words"),
    [
        (ReleaseBody, RELEASE | {"reason": ""}, "reason", "must not be empty"),
        (ReleaseBody, RELEASE | {"reason": "  "}, "reason", "must not be empty"),
        (
            ReleaseBody,
            RELEASE | {"reason": "x" * 501},
            "reason",
            "must have at most 500 characters",
        ),
        (ReleaseBody, RELEASE | {"reason": 5}, "reason", "must be text"),
        (
            *(ReleaseBody, RELEASE | {"reason": "a\nb"}, "reason"),
            "must be one line of text, without control characters",
        ),
        (ReleaseBody, RELEASE | {"sequenceNumber": 0}, "sequenceNumber", "must be 1 or more"),
        (
            ReleaseBody,
            RELEASE | {"sequenceNumber": "1"},
            "sequenceNumber",
            "must be a whole number",
        ),
        (ReleaseBody, {}, "reason", "is missing, and is needed here"),
        (
            *(NextBody, PLACE | {"siteId": "a b"}, "siteId"),
            "must be 1 to 64 visible ASCII characters, without blanks",
        ),
        (NextBody, PLACE | {"count": 10_001}, "count", "must be 10000 or less"),
        (NextBody, PLACE | {"metadata": []}, "metadata", "must be an object"),
        (VoidBody, VOID | {"reason": "short"}, "reason", "must have at least 10 characters"),
        (VoidBody, VOID | {"replace": "yes"}, "replace", "must be true or false"),
        (
            *(StrikeBody, {"action": "tickle"}, "action"),
            "must be one of 'kill', 'stop', 'pause' or 'restart'",
        ),
    ],
)
def test_it_says_what_to_send(
    model: type[Input], fields: dict[str, Any], field: str, words: str
) -> None:
    assert told(model, fields)[field] == words


def models() -> list[type[Input]]:
    for module in pkgutil.iter_modules(coordinator.api.__path__, "coordinator.api."):
        importlib.import_module(module.name)
    found, waiting = [], [Input]
    while waiting:
        model = waiting.pop()
        found.append(model)
        waiting += model.__subclasses__()
    return found


def refusals(model: type[Input]) -> Iterator[str]:
    names = [field.alias or name for name, field in model.model_fields.items()]
    yield from told(model, {}).values()
    for name in names:
        for value in STRANGE:
            yield told(model, {name: value}).get(name, "")


def test_nothing_that_a_caller_may_send_is_refused_in_a_librarys_words() -> None:
    assert len(models()) > 30
    said = {words for model in models() for words in refusals(model)} - {""}
    assert len(said) > 20
    assert sorted(words for words in said if NOT_OURS.search(words)) == []


async def test_a_missing_reason_is_said_to_be_missing(start_node: Start) -> None:
    node = await start_node()
    body = {name: value for name, value in RELEASE.items() if name != "reason"}
    problem, _ = await post(node, "release", body, 400)
    assert problem["detail"] == "reason: is missing, and is needed here."
    assert problem["errors"] == [{"field": "reason", "message": "is missing, and is needed here"}]
