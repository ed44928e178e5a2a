"""The OpenAPI document as a judge: whether an answer is one that it describes."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import aiohttp
from openapi_schema_validator import OAS31Validator

from coordinator.api import problems
from coordinator.api.description.call import ANSWER_HEADERS, ANYWHERE
from coordinator.api.description.document import About, document
from coordinator.peers import PATH as BETWEEN_NODES

JSON = "application/json"
PROBLEM = "application/problem+json"
ABOUT = About("0", ("site-1", "site-2"), ("partition-a", "partition-b"), ("on-cycle", "off-cycle"))
NO_CALL = {problems.NO_SUCH_ROUTE.code, problems.WRONG_METHOD.code}
OF_ANY = {kind.code for kind in ANYWHERE} | {problems.MALFORMED.code}
BYTES_MAX = 20_000
"""Larger answers take long to compare, and have nothing that smaller ones have not."""


@lru_cache(maxsize=1)
def described() -> dict[str, Any]:
    """Return the document, closed: a field that it does not name is none."""
    whole = document(ABOUT)
    for name, schema in whole["components"]["schemas"].items():
        if name != "ProblemBody":  # refusals may say more
            close(schema)
    return whole


def close(schema: Any) -> None:
    """Let no object have fields that are not described."""
    if isinstance(schema, list):
        for each in schema:
            close(each)
    if not isinstance(schema, dict):
        return
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    for each in schema.values():
        close(each)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and operation of each call."""
    for path, methods in described()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


@lru_cache(maxsize=1)
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    paths = sorted(described()["paths"], key=lambda path: path.count("{"))
    return [(_pattern(path), path) for path in paths]


def _pattern(path: str) -> re.Pattern[str]:
    # A document number may have slashes.
    parts = (("(.+)" if "document_number" in p else "([^/]+)") for p in re.findall("{.*?}", path))
    return re.compile(re.sub("{.*?}", lambda _: next(parts), path), re.DOTALL)


def path_of(address: str) -> str | None:
    """Return the described path of an address."""
    return next((path for like, path in _patterns() if like.fullmatch(address)), None)


def wrong_with(
    method: str, address: str, status: int, headers: Mapping[str, str], body: bytes
) -> list[str]:
    """Return what the document does not say of an answer."""
    media = headers.get("Content-Type", "").partition(";")[0]
    path = path_of(address)
    operation = described()["paths"].get(path, {}).get(method.lower())
    if operation is None:
        # Without an id it is an answer of some other server, which a test asks beside the nodes.
        code = json.loads(body)["code"] if media == PROBLEM and body else None
        is_known = method == "HEAD" or code in NO_CALL or "X-Request-Id" not in headers
        return [] if is_known else [f"{method} {address}: no such call"]
    what = f"{operation['operationId']} {status}"
    answer = operation["responses"].get(str(status), operation["responses"]["default"])
    if "$ref" in answer:
        answer = described()["components"]["responses"]["Problem"]
    if media not in answer["content"]:
        return [f"{what}: {media} is not described"]
    wrong = []
    if media == PROBLEM:
        code = json.loads(body)["code"]
        if code not in {*operation["x-problem-codes"], *OF_ANY}:
            wrong.append(f"{what}: {code} is not described: {body.decode()[:300]}")
    elif str(status) not in operation["responses"]:
        wrong.append(f"{what}: the status is not described")
    told = {name for name in ANSWER_HEADERS if name in headers}
    strange = told - set(answer["headers"])
    wrong += [f"{what}: header {name} is not described" for name in sorted(strange)]
    if "X-Request-Id" not in told:
        wrong.append(f"{what}: no X-Request-Id")
    if media.endswith("json") and len(body) <= BYTES_MAX:
        found = misfits(answer["content"][media]["schema"], json.loads(body))
        wrong += [f"{what}: {each}" for each in found]
    return wrong


def misfits(schema: dict[str, Any], value: Any) -> list[str]:
    """Return where a value is not as a schema says."""
    root = {**schema, "components": described()["components"]}
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"
        for error in OAS31Validator(root).iter_errors(value)
    ]


def watching() -> aiohttp.TraceConfig:
    """Return what has a client fail at answers that the document does not describe."""

    async def judge(_: aiohttp.ClientSession, __: SimpleNamespace, seen: Any) -> None:
        kind = seen.response.content_type
        if kind not in {JSON, PROBLEM} or seen.method == "HEAD":
            return
        body = await seen.response.read()
        answer = (seen.response.status, seen.response.headers, body)
        wrong = wrong_with(seen.method, seen.url.raw_path, *answer)
        assert seen.url.raw_path == BETWEEN_NODES or not wrong, wrong

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(judge)
    return trace
