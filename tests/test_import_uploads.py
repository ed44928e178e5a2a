"""What is sent as an import: files of many kinds, forms that are none, and far too much."""

import asyncio
import json
import os
import tempfile
import time
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from http_calls import Client, Start
from import_calls import HEADER, PATH, cor, csv_of, send_form, send_raw
from support import until
from test_documents_api import refused

from coordinator.api import import_inputs
from coordinator.api.uploads import UPLOADS_MAX
from coordinator.importing.importer import Importer
from coordinator.workplace import LEFT_S, PREFIX


@pytest.mark.parametrize(
    "content",
    [
        ("\ufeff" + HEADER + f"\nCOR,{cor(1)},,\n").encode("utf-8"),
        ("\ufeff" + HEADER + f"\nCOR,{cor(1)},,\n").encode("utf-16-le"),
        f"document_type;document_number\r\nCOR;{cor(1)}\r\n".encode(),
    ],
    ids=["UTF-8 with a mark", "UTF-16", "semicolons"],
)
async def test_files_as_spreadsheets_write_them_come_in(start_node: Start, content: bytes) -> None:
    node = await start_node()
    assert (await send_raw(node, content))[0]["imported"] == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (f"{HEADER}\nCOR,Müller,,\n".encode("cp1252"), "is not UTF-8"),
        (b"document_type,document_number,document_number\nCOR,1,2\n", "twice"),
        (b"", "empty"),
        (HEADER.encode(), "no rows"),
        (b"PK\x03\x04 and no workbook", "Nothing was changed"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused(
    start_node: Start, content: bytes, said: str
) -> None:
    node = await start_node()
    problem, _ = await send_form(node, content, 422)
    assert problem["code"] == "NB044"
    assert said in problem["detail"]


async def test_requests_that_are_none_are_refused(start_node: Start) -> None:
    node = await start_node()
    await refused(node, "POST", PATH, {"file": "x"}, 415)
    content = csv_of([cor(1)])
    problem, _ = await send_form(node, content, 400, no_such_field="1")
    assert problem["errors"][0]["field"] == "no_such_field"
    problem, _ = await send_form(node, content, 400, dry_run="perhaps")
    assert problem["errors"][0]["field"] == "dry_run"
    async with node.post(f"{PATH}?dry_run=true", data={"dry_run": "false"}) as answer:
        assert answer.status == 415
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (
        b"--x\r\n\r\n\r\n",
        b"nothing",
        b"--x--\r\n",
        b"--x\r\nA: b\r\n\r\n1\r\n--x--\r\n",
    ):
        async with node.post(PATH, data=body, headers=headers) as answer:
            assert answer.status == 400, await answer.text()
    headers = {"Content-Type": "multipart/form-data"}
    async with node.post(PATH, data=b"x", headers=headers) as answer:
        assert answer.status == 400


async def test_a_gigabyte_is_refused_before_it_is_read(start_node: Start) -> None:
    node = await start_node()
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    writer.write(f"{head}Content-Length: 1073741824\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(2_000), 10)
    assert answer.startswith(b"HTTP/1.1 413")
    writer.close()
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 2**30:
            sent += 2**20
            yield bytes(2**20)

    before = time.monotonic()
    try:
        async with node.post(PATH, data=endless(), headers={"Content-Type": "text/csv"}) as said:
            assert said.status == 413
    except ConnectionError:
        pass  # the connection was closed while this side was still sending
    assert sent < 200 * 2**20
    assert time.monotonic() - before < 30


Upload = tuple[StreamReader, StreamWriter]


async def half_sent(node: Client, content: bytes = b"", of: int = 60_000_000) -> Upload:
    """Begin an upload by hand: its head, and some of its bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    writer.write(f"{head}Content-Length: {of}\r\n\r\n".encode() + content)
    await writer.drain()
    return reader, writer


async def answer_to(upload: Upload) -> tuple[int, Any]:
    async with asyncio.timeout(20):
        head = (await upload[0].readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        told = json.loads(await upload[0].readexactly(length))
    upload[1].close()
    return int(head.split()[1]), told


async def phases(node: Client) -> list[str]:
    async with node.get(PATH.replace("bulk-import", "imports")) as answer:
        return [each["phase"] for each in (await answer.json())["data"]]


async def all_begun(node: Client, many: int) -> None:
    async with asyncio.timeout(20):
        while (await phases(node)).count("receiving") < many:
            await asyncio.sleep(0.01)


async def test_who_sends_half_a_file_keeps_nobody_from_importing(start_node: Start) -> None:
    node = await start_node()
    _, held = await half_sent(node, HEADER.encode())
    await all_begun(node, 1)
    assert (await send_form(node, csv_of([cor(1)])))[0]["imported"] == 1
    held.close()


async def test_files_on_their_way_to_a_node_are_few(start_node: Start) -> None:
    node = await start_node()
    uploads = [await half_sent(node, b"x") for _ in range(UPLOADS_MAX)]
    await all_begun(node, UPLOADS_MAX)
    status, problem = await answer_to(await half_sent(node))
    assert (status, problem["code"]) == (503, "NB003")
    assert "4 files are on their way to this node already" in problem["detail"]
    uploads.pop()[1].close()
    async with asyncio.timeout(20):
        while (await phases(node)).count("receiving") == UPLOADS_MAX:
            await asyncio.sleep(0.01)
    assert (await send_form(node, csv_of([cor(1)])))[0]["imported"] == 1
    for _, writer in uploads:
        writer.close()


async def test_who_sends_too_slowly_is_cut_off_and_told_so(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_inputs, "PACE_S", 0.5)
    node = await start_node()
    silent, dripping = [await half_sent(node, b"x") for _ in range(2)]

    async def drip() -> None:
        while True:
            dripping[1].write(b"x")
            await asyncio.sleep(0.05)

    dropping = asyncio.create_task(drip())
    for upload in (silent, dripping):
        status, problem = await answer_to(upload)
        assert (status, problem["code"]) == (408, "NB022")
        assert "each 256 KiB of it, or the rest, must arrive within 0.5 s" in problem["detail"]
    dropping.cancel()


async def test_a_file_that_keeps_coming_may_take_its_time(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_inputs, "PACE_S", 2.0)
    monkeypatch.setattr(import_inputs, "PACE_BYTES", 1_000)
    node = await start_node()
    content = csv_of(map(cor, range(1, 201)))
    upload = await half_sent(node, of=len(content))
    for at in range(0, len(content), 1_000):
        await asyncio.sleep(0.3)
        upload[1].write(content[at : at + 1_000])
    assert len(content) > 8_000, "it takes longer than its pace"
    assert (await answer_to(upload))[1]["imported"] == 200


async def test_while_a_node_imports_others_hear_so_before_they_send_and_after(
    start_node: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await start_node()
    checking, go_on = asyncio.Event(), asyncio.Event()
    check = Importer.check

    async def slow(*given: Any) -> Any:
        checking.set()
        await go_on.wait()
        return await check(*given)

    monkeypatch.setattr(Importer, "check", slow)
    content = csv_of([cor(1)])
    begun = await half_sent(node, of=len(content))
    await all_begun(node, 1)
    first = asyncio.create_task(send_form(node, content, dry_run="true"))
    await until(checking.is_set, "the import is under way")
    begun[1].write(content)
    for upload in (begun, await half_sent(node)):
        status, problem = await answer_to(upload)
        assert (status, problem["code"]) == (503, "NB003")
        assert "this node has an import to do" in problem["detail"]
        assert "the same key" not in problem["detail"]
    again = {"Idempotency-Key": "k-1"}
    problem, _ = await send_form(node, content, 503, again)  # it may repeat what is under way
    assert "an earlier one with the same key may have been served" in problem["detail"]
    go_on.set()
    assert (await first)[0]["success"]
    assert sorted(await phases(node)) == ["done", "failed"]


async def test_a_node_without_room_for_a_file_says_so_and_changes_nothing(
    start_node: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node = await start_node()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    problem, headers = await send_form(node, csv_of([cor(1)]), 503)
    assert (problem["code"], problem["retryable"]) == ("NB056", True)
    assert "Nothing was changed" in problem["detail"]
    assert headers["Retry-After"]
    assert await phases(node) == ["failed"]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert (await send_form(node, csv_of([cor(1)])))[0]["imported"] == 1


async def test_what_a_killed_node_left_on_the_disk_is_cleared_away_by_the_next(
    start_node: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names = (f"{PREFIX}killed", f"{PREFIX}at-work", "import-of-somebody")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"x")
    long_ago = time.time() - LEFT_S - 60
    for name in (names[0], names[2]):
        os.utime(tmp_path / name, (long_ago, long_ago))
    await send_form(await start_node(), csv_of([cor(1)]), dry_run="true")
    assert sorted(os.listdir(tmp_path)) == sorted(names[1:])  # noqa: PTH208 - of a test
