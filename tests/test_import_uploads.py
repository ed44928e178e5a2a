"""What is sent as an import: files of many kinds, forms that are none, and far too much."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from http_calls import Start
from import_calls import HEADER, PATH, cor, csv_of, send_form, send_raw
from test_documents_api import refused


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
