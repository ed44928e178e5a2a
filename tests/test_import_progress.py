"""How far an import is, over HTTP, while it is under way and afterwards, at any node."""

import asyncio
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from http_calls import Client, Start
from import_calls import PATH, Place, cor, csv_of, send_form, send_raw
from support import ROOT, until
from tcp_proxy import Fault, TcpProxy

from coordinator.core.starter import STARTER
from coordinator.import_files.choice import Choice
from coordinator.importing import importer as importers
from coordinator.importing.book import KEPT_MAX, ImportBook
from coordinator.importing.importer import Importer
from coordinator.importing.preparing import prepare_apart
from coordinator.importing.staging import Phase
from coordinator.metrics import TYPES_SHOWN_MAX, Metrics

IMPORTS = "/api/v1/admin/document-numbering/imports"
MANY = 12_000
IN_ORDER = ["receiving", "reading", "checking", "staging", "committing", "done"]


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
async def way(etcd: str) -> AsyncIterator[TcpProxy]:
    proxy = await TcpProxy("127.0.0.1", int(etcd.rsplit(":", 1)[1])).start()
    yield proxy
    await proxy.stop()


async def listed(node: Client, **query: str) -> list[Any]:
    async with node.get(IMPORTS, params=query) as answer:
        assert answer.status == 200, await answer.text()
        return list((await answer.json())["data"])


async def one(node: Client, course_id: str, status: int = 200) -> Any:
    async with node.get(f"{IMPORTS}/{course_id}") as answer:
        assert answer.status == status, await answer.text()
        body = await answer.json()
    return body["data"] if status == 200 else body


async def slowly(content: bytes, pieces: int) -> AsyncIterator[bytes]:
    size = len(content) // pieces + 1
    for begin in range(0, len(content), size):
        yield content[begin : begin + size]
        await asyncio.sleep(0.02)


async def test_a_long_import_is_watched_from_the_upload_to_its_end_at_any_node(
    start_node: Start, place: Place, etcd: str, way: TcpProxy
) -> None:
    members = {"node-1": way.url, "node-2": etcd}
    nodes = [
        await start_node(root=place.root, node_id=name, etcd_endpoints=url, node_ttl_s=60)
        for name, url in members.items()
    ]
    way.delay_s = 0.03
    content = csv_of(map(cor, range(1, MANY + 1)))

    async def send() -> Any:
        headers = {"Content-Type": "text/csv", "Idempotency-Key": "move", "X-Request-Id": "r-1"}
        async with nodes[0].post(PATH, data=slowly(content, 20), headers=headers) as answer:
            return answer.status, await answer.json()

    sending = asyncio.create_task(send())
    seen: list[Any] = []
    while not sending.done():
        for node in nodes:
            seen += await listed(node, request_id="move")
        await asyncio.sleep(0.01)
    status, told = await sending
    assert (status, told["imported"]) == (200, MANY)
    (last,) = await listed(nodes[1], request_id="r-1")
    seen.append(last)
    phases = list(dict.fromkeys(each["phase"] for each in seen))
    assert phases == [phase for phase in IN_ORDER if phase in phases]
    assert {"receiving", "reading", "staging", "done"} <= set(phases)
    for phase in ("receiving", "reading", "staging"):
        counts = [each["done"] for each in seen if each["phase"] == phase]
        assert counts == sorted(counts), phase
        assert len(set(counts)) > 1, f"{phase} is told only as {counts}"
    assert all(each["done"] <= each["total"] for each in seen if each["total"] is not None)
    assert {each["id"] for each in seen} == {last["id"]}
    assert last["id"].startswith("node-1.")
    assert last == await one(nodes[0], last["id"]) == await one(nodes[1], last["id"])
    expected = {"node": "node-1", "request_id": "r-1", "idempotency_key": "move", "replayed": False,
                "dry_run": False, "rows_total": MANY, "imported": MANY, "document_types": ["COR"],
                "import": told["import"], "code": None}  # fmt: skip
    assert expected.items() <= last.items()
    assert last["ended_at"] > last["started_at"]


async def test_how_imports_ended_is_told_and_the_newest_comes_first(
    start_node: Start, place: Place
) -> None:
    node = await start_node(root=place.root)
    key = {"Idempotency-Key": "k"}
    await send_form(node, csv_of([cor(1)]), dry_run="true")
    await send_raw(node, csv_of([cor(1)]), dry_run="true")
    await send_form(node, csv_of([cor(1)]), headers=key)
    await send_form(node, csv_of([cor(1)]), requestId="k")
    await send_form(node, csv_of([cor(1), "nonsense"]), 422)
    await send_form(node, b"nothing of ours", 422)
    await send_form(node, csv_of([cor(2)]), 400, unknown="field")
    found = [
        (each["phase"], each["dry_run"], each["imported"], each["code"], each["replayed"])
        for each in reversed(await listed(node))
    ]
    assert found == [
        ("done", True, 0, None, False),
        ("done", True, 0, None, False),
        ("done", False, 1, None, False),
        ("done", False, 1, None, True),
        ("refused", False, 0, "NB043", False),
        ("refused", False, 0, "NB044", False),
        ("refused", False, 0, "NB009", False),
    ]
    replayed, first = await listed(node, request_id="k")
    assert (replayed["import"], first["import"]) == (first["import"],) * 2
    refused = (await listed(node))[2]
    assert "row 3" in refused["detail"]
    assert (refused["unit"], refused["ended_at"] is None) == ("rows", False)


async def counted(node: Client) -> dict[str, float]:
    async with node.get("/metrics") as answer:
        lines = (await answer.text()).splitlines()
    pairs = [line.rsplit(" ", 1) for line in lines if line.startswith("numbering_import")]
    return {name: float(value) for name, value in pairs if "_created" not in name}


async def test_rows_and_refused_files_are_counted_by_document_type(
    start_node: Start, place: Place
) -> None:
    node = await start_node(root=place.root)
    assert await counted(node) == {}
    rows = [*csv_of([cor(1), cor(2), cor(1, 2024)]).splitlines(), b"RFA,RFA-P1-2025-00001,,"]
    key = {"Idempotency-Key": "k"}
    for _ in range(2):  # a replay brings nothing in
        await send_form(node, b"\n".join(rows), headers=key)
    came = {'numbering_imported_rows_total{document_type="COR"}': 3,
            'numbering_imported_rows_total{document_type="RFA"}': 1}  # fmt: skip
    assert await counted(node) == came
    await send_form(node, b"\n".join(rows), 422, dry_run="true")  # nobody wanted it in yet
    assert await counted(node) == came
    await send_form(node, b"\n".join(rows), 422)
    await send_form(node, csv_of([cor(9), "nonsense"]), 422)
    await send_form(node, csv_of(["NO-1"], "NO"), 422)
    await send_form(node, b"nothing of ours", 422)
    name = 'numbering_imports_refused_total{document_type="%s"}'
    assert await counted(node) == came | {name % "COR": 2, name % "RFA": 1, name % "other": 2}


def test_the_types_that_are_counted_are_bounded() -> None:
    metrics = Metrics(9, ("invoice",))
    for number in range(TYPES_SHOWN_MAX + 5):
        metrics.imported({f"T{number}": 1}, {})
    metrics.import_refused(["T0", "NEW", "NEWER"])
    text = metrics.text().decode()
    assert text.count("numbering_imported_rows_total{") == TYPES_SHOWN_MAX + 1
    assert 'numbering_imported_rows_total{document_type="other"} 5.0' in text
    assert text.count("numbering_imports_refused_total{") == 2


async def test_an_import_whose_caller_leaves_has_failed(start_node: Start, place: Place) -> None:
    node = await start_node(root=place.root)
    headers = {"Content-Type": "text/csv"}
    content = csv_of(map(cor, range(1, MANY + 1)))
    sending = asyncio.create_task(node.post(PATH, data=content, headers=headers).__aenter__())

    async def is_in(phase: str) -> bool:
        return [each["phase"] for each in await listed(node)] == [phase]

    while not await is_in("reading"):
        await asyncio.sleep(0.01)
    sending.cancel()
    async with asyncio.timeout(10):
        while not await is_in("failed"):
            await asyncio.sleep(0.01)
    (left,) = await listed(node)
    assert (left["imported"], left["unit"]) == (0, "rows")
    assert "Nothing was changed: the caller has left" in left["detail"]


async def test_an_import_in_doubt_is_told_as_unknown(
    start_node: Start, place: Place, way: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importers, "COMMITTED_WITHIN_S", 0.5)
    monkeypatch.setattr("coordinator.importing.staging.WRITTEN_WITHIN_S", 0.5)
    node = await start_node(root=place.root, etcd_endpoints=way.url)
    commit = Importer._commit

    async def commit_unheard(*given: Any) -> Any:
        way._fault = Fault.LOSE_REPLIES
        return await commit(*given)

    monkeypatch.setattr(Importer, "_commit", commit_unheard)
    problem, _ = await send_form(node, csv_of([cor(1)]), 504)
    await way.set(Fault.NONE)
    (doubt,) = await listed(node, local="true")
    assert (doubt["phase"], doubt["code"], problem["code"]) == ("unknown", "NB014", "NB014")
    assert doubt["detail"] == problem["detail"]


async def test_ids_that_nobody_has_are_refused(start_node: Start, place: Place) -> None:
    node = await start_node(root=place.root)
    for unknown in ("node-1.00000000", "nobody.00000000", "x" * 81, "a%20b"):
        problem = await one(node, unknown, 404)
        assert problem["code"] == "NB054", unknown
    async with node.get(IMPORTS, params={"request_id": "two words"}) as answer:
        assert answer.status == 400
    assert await listed(node, request_id="another") == []


async def test_a_node_that_is_gone_is_out_of_reach(start_node: Start, place: Place) -> None:
    nodes = [await start_node(root=place.root, node_id=f"node-{n}") for n in (1, 2)]
    await send_form(nodes[0], csv_of([cor(1)]))
    (kept,) = await listed(nodes[1])
    await nodes[0].close()
    problem = await one(nodes[1], kept["id"], 503)
    assert (problem["code"], "is in the ledger" in problem["detail"]) == ("NB052", True)
    assert await listed(nodes[1]) == []


async def test_a_process_that_dies_over_a_file_is_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(csv_of([cor(1)]))
    given = (tmp_path / "file", None, Choice(), tmp_path / "rows")  # without series it breaks
    with pytest.raises(OSError, match="without a word"):
        await prepare_apart(*given)  # type: ignore[arg-type]


@pytest.mark.parametrize("heard", [0, 10], ids=["before it has its job", "while it reads"])
def test_a_process_whose_node_was_killed_ends_without_a_word(tmp_path: Path, heard: int) -> None:
    (tmp_path / "file").write_bytes(csv_of(map(cor, range(1, 20_001))))
    job = pickle.dumps((tmp_path / "file", STARTER, Choice(), tmp_path / "rows"))
    words = (
        sys.executable,
        "-c",
        f"from {prepare_apart.__module__} import serve_parent; serve_parent()",
    )
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(job if heard else job[: len(job) // 2])
        process.stdin.flush()
        process.stdout.read(heard)
        process.stdout.close()  # as the pipes of a process that is killed
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 1


async def test_the_newest_are_kept_and_no_more() -> None:
    book = ImportBook("node-1")
    begun = [book.begin(f"r-{n}", None) for n in range(KEPT_MAX + 3)]
    assert book.newest_first == begun[:2:-1]
    assert book.find(begun[0].id) is None
    assert book.find(begun[-1].id) is begun[-1]
    begun[-1].at(Phase.STAGING, 1, 2)
    begun[-1].ended(Phase.FAILED, "x")
    assert (begun[-1].counted, begun[-1].done, begun[-1].phase) == (Phase.STAGING, 1, Phase.FAILED)
    await until(lambda: begun[-1].ended_ms, "its end has a time")
