"""Calls about document numbers, as tests write them; and the proof of all that they have left."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from http_calls import Client, Start
from test_documents_api import TEMPLATES, call

from coordinator.cli.validate import _prove_all
from coordinator.proof import report

DOCUMENTS = "/api/v1/document-numbering"
ADMIN = "/api/v1/admin/document-numbering"
WHY = "asked by the auditor"
LAST_YEAR = "2025-07-01"
"""Of a period that no clock of a test is in."""

COUNTER = "documents/MEM/yearly=2025"

MEM = {
    "document_type": "MEM",
    "template": "{PREFIX}-{YYYY}-{SEQ:5}",
    "scopes": ["YEARLY"],
    "allow_manual_override": True,
    "reason": "memoranda",
}


def text(number: int, kind: str = "MEM") -> str:
    return f"{kind}-2025-{number:05}"


async def define(node: Client, **more: Any) -> None:
    await call(node, "POST", TEMPLATES, MEM | more, 201)


async def change(node: Client, version: int, **more: Any) -> None:
    body = {name: value for name, value in MEM.items() if name != "document_type"}
    await call(node, "PUT", f"{TEMPLATES}/MEM", body | {"version": version} | more)


async def ask(node: Client, path: str, body: Any, status: int = 200, **headers: str) -> Any:
    """Return the answer to a call at ``path``, below the address for everybody or for operators."""
    root = DOCUMENTS if path in {"reserve", "confirm", "cancel", "preview"} else ADMIN
    return await call(node, "POST", f"{root}/{path}", body, status, **headers)


async def told(node: Client, path: str, body: Any, status: int = 200, **headers: str) -> Any:
    answer, _ = await ask(node, path, body, status, **headers)
    assert answer["success"] is True
    return answer.get("data", answer)


async def refused(node: Client, path: str, body: Any, status: int, **headers: str) -> Any:
    problem, _ = await ask(node, path, body, status, **headers)
    assert (problem["success"], problem["status"]) == (False, status)
    return problem


async def reserve(node: Client, **more: Any) -> Any:
    body = {"document_type": "MEM", "issue_date": LAST_YEAR} | more
    return await told(node, "reserve", body, 201)


async def issue(node: Client, **more: Any) -> str:
    """Reserve and confirm the next number; return it."""
    reserved = await reserve(node, **more)
    await told(node, "confirm", {"token": reserved["token"]})
    number: str = reserved["document_number"]
    return number


async def name(node: Client, number: int, status: int = 201, **more: Any) -> Any:
    body = {"document_type": "MEM", "document_number": text(number), "reason": WHY} | more
    return await (told if status == 201 else refused)(node, "manual-override", body, status)


async def void(node: Client, number: str, status: int = 200, **more: Any) -> Any:
    body = {"document_number": number, "reason": WHY} | more
    return await (told if status == 200 else refused)(node, "void-and-replace", body, status)


async def adjust(node: Client, status: int = 200, **more: Any) -> Any:
    body = {"document_type": "MEM", "issue_date": LAST_YEAR, "reason": WHY} | more
    return await (told if status == 200 else refused)(node, "sequences/adjust", body, status)


async def close(node: Client, status: int = 200, **more: Any) -> Any:
    body = {"document_type": "MEM", "issue_date": LAST_YEAR, "reason": WHY} | more
    return await (told if status == 200 else refused)(node, "sequences/close", body, status)


class Two(NamedTuple):
    """Two nodes of one installation."""

    one: Client
    other: Client
    etcd: str
    root: str


@asynccontextmanager
async def two_nodes(start_node: Start, etcd: str) -> AsyncIterator[Two]:
    """Start two nodes that know the series MEM; in the end, prove every counter."""
    root = f"/test-{uuid.uuid4().hex[:8]}/"
    one, other = [await start_node(node_id=f"node-{n}", root=root) for n in (1, 2)]
    await define(one)
    yield Two(one, other, etcd, root)
    await proven(etcd, root)


async def proven(etcd: str, root: str) -> int:
    """Prove every counter as ``coordinator validate`` does; return how many numbers are in use."""
    verdicts = await _prove_all({"etcd_endpoints": etcd, "root": root, "counter": None})
    told_of = report(verdicts)
    assert told_of["valid"], told_of["findings"]
    return sum(verdict.issued_now for verdict in verdicts.values())
