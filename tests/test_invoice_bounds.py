"""The last number of the sequence API bounds whatever counts invoices, and nothing else."""

import uuid
from typing import Any

import pytest
from document_calls import WHY, adjust, ask, proven, reserve
from http_calls import PLACE, Client, Start, get, issue
from import_calls import csv_of, send_form
from test_documents_api import TEMPLATES, call

LAST = 50
INVOICE = {"document_type": "invoice", "reason": WHY}


@pytest.fixture
def root() -> str:
    return f"/test-{uuid.uuid4().hex[:8]}/"


async def ended(node: Client) -> None:
    """Check that no invoice goes out any more."""
    assert (await get(node, "next", 409, **PLACE))["code"] == "NB002"


async def test_the_count_of_invoices_is_adjusted_up_to_its_last_number(
    start_node: Start, etcd: str, root: str
) -> None:
    node = await start_node(root=root, max_value=LAST)
    await issue(node)
    for value in ({"next_value": LAST + 1}, {"current_value": LAST}, {"next_value": 10**9}):
        problem, _ = await ask(node, "sequences/adjust", INVOICE | value, 409)
        assert (problem["code"], f"ends at {LAST}" in problem["detail"]) == ("NB002", True)
    assert (await issue(node))["sequenceNumbers"] == [2]
    told, _ = await ask(node, "sequences/adjust", INVOICE | {"next_value": LAST})
    assert told["data"]["passed_over"] == {"first": 3, "last": LAST - 1, "count": LAST - 3}
    preview, _ = await ask(node, "preview", {"document_type": "invoice"})
    assert preview["data"]["sequence"] == [LAST]
    assert (await issue(node))["sequenceNumbers"] == [LAST]
    await ended(node)
    await proven(etcd, root)


async def test_the_series_may_end_before(start_node: Start, etcd: str, root: str) -> None:
    node = await start_node(root=root, max_value=LAST)
    await let_invoices(node, max_value=20)
    problem, _ = await ask(node, "sequences/adjust", INVOICE | {"next_value": 21}, 409)
    assert (problem["code"], "ends at 20" in problem["detail"]) == ("NB002", True)
    await ask(node, "sequences/adjust", INVOICE | {"next_value": 20})
    assert (await issue(node, count=2))["sequenceNumbers"] == [20, 21]
    await proven(etcd, root)


async def let_invoices(node: Client, **more: Any) -> None:
    body = {"template": "{PREFIX}-{SEQ:8}", "prefix": "INV", "gap_policy": "reuse", "version": 1}
    wanted = body | {"max_value": 10**15, "allow_manual_override": True, "reason": WHY} | more
    await call(node, "PUT", f"{TEMPLATES}/invoice", wanted)


async def test_no_invoice_beyond_is_named_or_imported(
    start_node: Start, etcd: str, root: str
) -> None:
    node = await start_node(root=root, max_value=LAST)
    await let_invoices(node)
    beyond = f"INV-{LAST + 1:08}"
    problem, _ = await ask(node, "manual-override", INVOICE | {"document_number": beyond}, 409)
    assert problem["code"] == "NB002"
    for dry_run in ("true", "false"):
        content = csv_of([f"INV-{LAST:08}", beyond], "invoice")
        problem, _ = await send_form(node, content, 422, dry_run=dry_run)
        assert [(e["row"], e["code"]) for e in problem["errors"]] == [(3, "NB002")]
    await send_form(node, csv_of([f"INV-{LAST - 1:08}"], "invoice"))
    await ask(node, "manual-override", INVOICE | {"document_number": f"INV-{LAST:08}"}, 201)
    await ended(node)
    await proven(etcd, root)


async def test_documents_go_on_beyond_the_last_invoice(
    start_node: Start, etcd: str, root: str
) -> None:
    nodes = [await start_node(root=root, max_value=LAST, node_id=f"node-{n}") for n in (1, 2)]
    await adjust(nodes[0], document_type="COR", next_value=LAST + 10)
    for more, node in enumerate(nodes):
        reserved = await reserve(node, document_type="COR")
        assert reserved["document_number"] == f"COR-2025-{LAST + 10 + more:05}"
    await proven(etcd, root)
