"""Counters of documents on a node that serves: asked through the core where HTTP cannot yet."""

from collections.abc import Sequence
from typing import Any

from http_calls import Client
from test_reservations_api import DOCUMENTS, post, reserve

from coordinator.clock import monotonic_us
from coordinator.core.records import Origin
from coordinator.core.requests import Call, Done, Request
from coordinator.core.starter import STARTER

COR = STARTER.of("COR")
YEAR = "2025"
DATE = f"{YEAR}-06-30"
COUNTER = f"documents/COR/yearly={YEAR}"
VALUES = (("YYYY", YEAR), ("YY", YEAR[2:]))
MAX = 999_999
WHY = "asked by the auditor"
SEQUENCES = "/api/v1/admin/document-numbering/sequences"


def text(number: int) -> str:
    return f"COR-{YEAR}-{number:05}"


def by(user: str = "ann") -> Call:
    return Call(Origin("", "", "COR", user), "r", monotonic_us())


async def do(node: Client, *requests: Request, counter: str = COUNTER) -> list[Done]:
    """Commit requests of the core, one after the other."""
    sequencer = node.server.node._counters.sequencer(counter, 1)  # type: ignore[union-attr]
    done = []
    for request in requests:
        answer = await sequencer.submit(request)
        assert isinstance(answer, Done), answer
        done.append(answer)
    return done


async def confirmed(node: Client, many: int = 1) -> None:
    """Reserve and confirm the next numbers of 2025."""
    for _ in range(many):
        reserved = await reserve(node, issue_date=DATE)
        await post(node, "confirm", {"token": reserved["token"]})


async def read(node: Client, path: str, status: int = 200, **query: Any) -> Any:
    """Return the answer of a reading."""
    async with node.get(path, params={k: str(v) for k, v in query.items()}) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def number(node: Client, written: str, status: int = 200) -> Any:
    """Return what is told of a document number."""
    answer = await read(node, f"{DOCUMENTS}/numbers/{written}", status)
    return answer["data"] if status == 200 else answer


def operations(history: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(record["operationType"], record["status"]) for record in history]
