"""Imports as tests make them: files, calls over HTTP, and the books afterwards."""

import uuid
from collections.abc import Iterable
from typing import Any

from aiohttp import FormData
from http_calls import Client

from coordinator.core import head as heads
from coordinator.core.head import Head
from coordinator.core.keys import Keys
from coordinator.core.ledger import decode
from coordinator.core.records import Entry
from coordinator.core.transaction import KeyValue, Range, prefix_end
from coordinator.proof import prove
from coordinator.store import Store

PATH = "/api/v1/admin/document-numbering/bulk-import"
HEADER = "document_type,document_number,created_at,metadata"
COR = "documents/COR/yearly=2025"


def cor(number: int, year: int = 2025) -> str:
    return f"COR-{year}-{number:05}"


def csv_of(texts: Iterable[str], kind: str = "COR") -> bytes:
    rows = (f'{kind},{text},2025-03-01,"{{""was"": ""{text}""}}"' for text in texts)
    return "\n".join((HEADER, *rows, "")).encode()


async def send_form(
    node: Client,
    content: bytes,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **fields: str,
) -> tuple[Any, Any]:
    form = FormData()
    form.add_field("file", content, filename="old.csv", content_type="text/csv")
    for name, value in fields.items():
        form.add_field(name, value)
    async with node.post(PATH, data=form, headers=headers or {}) as answer:
        assert answer.status == status, (await answer.text())[:600]
        return await answer.json(), answer.headers


async def send_raw(
    node: Client, content: bytes, status: int = 200, kind: str = "text/csv", **query: str
) -> tuple[Any, Any]:
    headers = {"Content-Type": kind}
    async with node.post(PATH, data=content, params=query, headers=headers) as answer:
        assert answer.status == status, (await answer.text())[:600]
        return await answer.json(), answer.headers


class Place:
    """An installation's own corner of the store, and what is proven of it."""

    def __init__(self) -> None:
        self.root = f"/import-{uuid.uuid4().hex[:8]}/"
        self.keys = Keys(self.root.encode())

    async def proven(self, store: Store, counter: str = COR) -> int:
        """Prove a counter; return how many of its numbers are in use."""
        verdict = await prove(store, self.keys.counter(counter), 1)
        assert verdict.valid, verdict.findings[:5]
        return verdict.issued_now

    async def entries(self, store: Store, counter: str = COR) -> list[Entry]:
        (found,) = (await store.read(self.keys.counter(counter).entries(1))).found
        return [decode(kv.value) for kv in found]

    async def head(self, store: Store, counter: str = COR) -> Head | None:
        (found,) = (await store.read(Range(self.keys.counter(counter).head))).found
        return heads.decode(found[0].value) if found else None

    async def left(self, store: Store, what: str) -> tuple[KeyValue, ...]:
        """Return what stands under ``imports/open/``, ``rows/`` or ``done/``."""
        folder = f"{self.root}imports/{what}/".encode()
        (found,) = (await store.read(Range(folder, prefix_end(folder)))).found
        return found
