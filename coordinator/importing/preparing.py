"""A file made ready for its import: read, sorted by counter, its rows written as they will stay.

This takes seconds of pure computing, which would keep a node from serving. So a node has a process
of its own do it (``prepare_apart``): what a hostile file can cost ends with that process.
"""

import asyncio
import hashlib
import os
import pickle
import sys
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

from coordinator.core.catalogue import Catalogue
from coordinator.core.importing import ImportedRow, pieces, runs_of
from coordinator.core.legacy import Found, Named, sort_out
from coordinator.core.records import Rows
from coordinator.import_files import ERRORS_KEPT, BadFile, Column, Row, RowError, in_silence
from coordinator.import_files.choice import Choice
from coordinator.import_files.reading import read_copy
from coordinator.import_files.spool import CHUNK_BYTES, spooled

PREPARED_WITHIN_S = 120.0
COUNT_BYTES = 8
"""A count of rows on its way from the process that reads; 0 says that the answer follows."""


class Share(NamedTuple):
    """What a file has of one counter, ascending by number.

    ``rows`` and ``lines`` say where each number stands, ``texts`` how it is written. ``pieces`` of
    rows, each with its length in bytes, stand one after the other in the file of prepared rows.
    """

    counter: str
    document_type: str
    start: int
    max_value: int
    runs: tuple[tuple[int, int], ...]
    numbers: "array[int]"
    rows: "array[int]"
    lines: "array[int]"
    texts: tuple[str, ...]
    pieces: tuple[tuple[Rows, int], ...]


class Prepared(NamedTuple):
    """A file that was read. ``errors`` are the first ``ERRORS_KEPT`` of ``errors_total``.

    ``digest`` is the SHA-256 of its bytes and of the choice of rows.
    """

    digest: str
    rows_total: int
    shares: tuple[Share, ...]
    errors: tuple[RowError, ...]
    errors_total: int


def prepare(
    source: Path,
    catalogue: Catalogue,
    choice: Choice,
    rows_file: Path,
    progress: Callable[[int], None] = in_silence,
) -> Prepared:
    """Read a file against the series as they are defined; write its rows into ``rows_file``.

    Raises BadFile, and OSError.
    """
    with spooled(source) as copy:
        digest = _digest(copy, choice)
        content = read_copy(copy, progress, choice.takes)
    if not content.rows and not content.errors_total:
        raise BadFile(
            f"None of the rows {choice} is in the file. Choose rows as its spreadsheet numbers "
            "them: the header is row 1."
        )
    rows = {row.row: row for row in content.rows}
    named = (Named(row.row, row.document_type, row.document_number) for row in content.rows)
    found, misfits = sort_out(catalogue, named)
    errors = list(content.errors)
    for at, sentence, code in misfits:
        row, column = rows[at], Column.DOCUMENT_NUMBER
        errors.append(RowError(at, row.line, column, row.document_number, sentence, code))
    errors.sort(key=lambda error: error.row)
    with rows_file.open("wb") as out:
        shares = tuple(_share(each, rows, out) for each in found)
    total = content.errors_total + len(misfits)
    return Prepared(digest, content.rows_total, shares, tuple(errors[:ERRORS_KEPT]), total)


def _digest(content: IO[bytes], choice: Choice) -> str:
    content.seek(0)
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK_BYTES):
        digest.update(chunk)
    digest.update(f"rows {choice}".encode())
    content.seek(0)
    return digest.hexdigest()


def _share(found: Found, rows: dict[int, Row], out: IO[bytes]) -> Share:
    stored: list[tuple[Rows, int]] = []
    here = [rows[place] for _, place in found.places]
    numbers = array("Q", (number for number, _ in found.places))
    for name, content in pieces(
        ImportedRow(number, row.document_number, row.created_at, row.metadata)
        for number, row in zip(numbers, here, strict=True)
    ):
        out.write(content)
        stored.append((name, len(content)))
    return Share(
        found.counter,
        found.series.document_type,
        found.series.start,
        found.series.max_value,
        runs_of(numbers),
        numbers,
        array("Q", (row.row for row in here)),
        array("Q", (row.line for row in here)),
        tuple(row.document_number for row in here),
        tuple(stored),
    )


async def prepare_apart(
    source: Path,
    catalogue: Catalogue,
    choice: Choice,
    rows_file: Path,
    progress: Callable[[int], None] = in_silence,
) -> Prepared:
    """Do the same in a process of its own, which ends when nobody waits for it any more.

    Raises BadFile, also when it takes too long, and OSError.
    """
    job = pickle.dumps((source, catalogue, choice, rows_file))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", f"from {__name__} import serve_parent; serve_parent()"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        async with asyncio.timeout(PREPARED_WITHIN_S):
            said = await _said_by(process, job, progress)
    except TimeoutError:
        raise BadFile(
            f"The file was not read within {PREPARED_WITHIN_S:g} seconds. Split it, or save it as "
            "CSV UTF-8, which is read faster."
        ) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode or not said:
        raise OSError(0, "the process that reads files has ended without a word", str(source))
    answer: Prepared | BadFile | OSError = await asyncio.to_thread(pickle.loads, said)
    if isinstance(answer, Exception):
        raise answer
    return answer


async def _said_by(
    process: asyncio.subprocess.Process, job: bytes, progress: Callable[[int], None]
) -> bytes:
    """Hand a process its job, and return its answer; empty when it has ended without one."""
    assert process.stdin is not None, "it was started with a pipe"  # noqa: S101
    assert process.stdout is not None, "it was started with a pipe"  # noqa: S101
    try:
        process.stdin.write(job)
        await process.stdin.drain()
        process.stdin.close()
        while rows := int.from_bytes(await process.stdout.readexactly(COUNT_BYTES)):
            progress(rows)
        said = await process.stdout.read()
    except (ConnectionError, asyncio.IncompleteReadError):
        said = b""
    await process.wait()
    return said


def serve_parent() -> None:
    """Read a file for the process that has started this one; tell it how far that is.

    When that is gone there is nobody to tell anything: this one ends without a word.
    """
    try:
        _serve_parent()
        sys.stdout.flush()
    except (BrokenPipeError, EOFError, pickle.UnpicklingError, KeyboardInterrupt):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # flushed again at the end
        sys.exit(1)


def _serve_parent() -> None:
    source, catalogue, choice, rows_file = pickle.load(sys.stdin.buffer)  # noqa: S301 - the node's
    out = sys.stdout.buffer

    def tell(rows: int) -> None:
        out.write(rows.to_bytes(COUNT_BYTES))
        out.flush()

    try:
        answer: object = prepare(source, catalogue, choice, rows_file, tell)
    except (BadFile, OSError) as failed:
        answer = failed
    out.write(bytes(COUNT_BYTES) + pickle.dumps(answer))
