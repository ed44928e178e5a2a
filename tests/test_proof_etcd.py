"""Proof and export on a real etcd, tampered with through another client, by the command line."""

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from books import KEYS, Book, book, write
from etcd3gw.client import Etcd3Client

from coordinator.cli import main
from coordinator.cli.validate import Meter
from coordinator.core.keys import CounterKeys, Keys
from coordinator.core.verify import Break
from coordinator.store.etcd import EtcdStore

SETTINGS: dict[str, Any] = {"series": "invoice", "strategy": "GLOBAL_SEQUENTIAL", "first_number": 1}


class Place:
    """An installation of its own in etcd, seen by a client that is not the product's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.root = f"/proof-{uuid.uuid4().hex[:8]}/"
        self.keys = Keys(self.root.encode())
        address = urlsplit(url)
        self.client = Etcd3Client(host=address.hostname, port=address.port, api_path="/v3/")
        self.client.put(self.root + "settings", json.dumps(SETTINGS))

    @property
    def source(self) -> list[str]:
        return ["--etcd-endpoints", self.url, "--root", self.root]

    def fill(self, counter: str = "invoice") -> None:
        async def fill() -> None:
            store = EtcdStore((self.url,))
            await write(store, self.keys.counter(counter))
            await store.close()

        asyncio.run(fill())

    def store(self, tampered: Book) -> None:
        """Make etcd hold exactly this book."""
        keys: CounterKeys = self.keys.counter("invoice")
        self.client.delete_prefix(keys.prefix.decode())
        for kv in tampered.kvs():
            self.client.put(keys.prefix + kv.key.removeprefix(KEYS.prefix), kv.value)


@pytest.fixture
def place(etcd: str) -> Place:
    return Place(etcd)


def found(place: Place, capsys: pytest.CaptureFixture[str], expected_code: int) -> list[Any]:
    assert main(["validate", *place.source, "--json"]) == expected_code
    answer = json.loads(capsys.readouterr().out)
    assert answer["valid"] == (expected_code == 0)
    return [(f["kind"], f["entry"], f["number"]) for f in answer["findings"]]


def put(key: bytes, value: bytes) -> Callable[[Book], None]:
    return lambda tampered: tampered.beside.update({key: value})


ON_ETCD: list[tuple[str, Callable[[Book], Any], tuple[Break, int, int | None]]] = [
    ("a byte", lambda b: b.edit(5, '["node"', '["nodf"'), (Break.CHAIN, 5, None)),
    ("a space", lambda b: b.edit(5, ',"t"', ', "t"'), (Break.NOT_CANONICAL, 5, None)),
    ("an entry", lambda b: b.entries.pop(6), (Break.MISSING_ENTRY, 6, None)),
    ("the last entry", lambda b: b.entries.pop(11), (Break.MISSING_ENTRY, 11, None)),
    ("beyond", lambda b: b.entries.update({12: b.entries[11]}), (Break.BEYOND_HEAD, 11, None)),
    ("a forged release", lambda b: b.forge(10, '"site-1"', '"site-2"'),
     (Break.OTHER_HOLDER, 10, 8)),
    ("a forged count", lambda b: b.forge(3, '"n":3', '"n":2'), (Break.SKIPPED, 6, 11)),
    ("the chain", lambda b: b.forge(6, '"w":6', '"w":7', also_head=False),
     (Break.HEAD, 11, None)),
    ("the head", lambda b: b.edit_head(next=14), (Break.HEAD, 11, None)),
    ("no head", lambda b: setattr(b, "head", None), (Break.HEAD_MISSING, 11, None)),
    ("a gap", lambda b: b.beside.pop(KEYS.gap(8)), (Break.GAP_KEY_MISSING, 10, 8)),
    ("an orphan", put(KEYS.gap(99), b"x"), (Break.GAP_WITHOUT_RELEASE, 11, 99)),
    ("two states", put(KEYS.gap(5), b"x"), (Break.TWO_STATES, 11, 5)),
    ("digests", put(KEYS.request_keys(5), b"\xff" * 8), (Break.ALTERED_KEY, 5, None)),
    ("a stray key", put(KEYS.prefix + b"zzz", b"x"), (Break.STRAY_KEY, 0, None)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tamper", "expected"), [c[1:] for c in ON_ETCD], ids=[c[0] for c in ON_ETCD]
)
def test_validate_finds_it_in_etcd_and_in_the_exported_file(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    tamper: Callable[[Book], Any],
    expected: tuple[Break, int, int | None],
) -> None:
    tampered = book()
    place.store(tampered)
    assert found(place, capsys, 0) == []
    tamper(tampered)
    place.store(tampered)
    assert found(place, capsys, 1) == [expected]
    path = tmp_path / "ledger.jsonl"
    assert main(["audit-export", *place.source, "-o", str(path)]) == 0
    capsys.readouterr()
    assert main(["validate", "--file", str(path), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    assert [(f["kind"], f["entry"], f["number"]) for f in findings] == [expected]


def test_each_finding_is_one_line_that_says_where_what_and_what_next(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    tampered = book()
    tampered.beside[KEYS.gap(5)] = b"x"
    place.store(tampered)
    assert main(["validate", *place.source]) == 1
    first, tip, last = capsys.readouterr().out.splitlines()
    assert first.startswith("entry 11, number 5: number in two states: gap/")
    assert "Next: delete this gap key while no node runs" in first
    assert tip.startswith("invoice: the newest entry has hash ")
    assert last == (
        "NOT VALID - 11 ledger entries replayed: 10 numbers in use, 2 gaps waiting, 1 break found."
    )


def test_all_counters_are_proven_or_those_that_are_named(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for counter in ("invoice", "invoice/site-1", "a b%c"):
        place.fill(counter)
    assert main(["validate", *place.source, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer["tips"]) == {"invoice", "invoice/site-1", "a b%c"}
    assert answer["entries"] == 33
    some = ["--counter", "a b%c", "--counter", "invoice"]
    assert main(["validate", *place.source, *some, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["tips"]) == {"invoice", "a b%c"}
    assert main(["validate", *place.source, "--counter", "other"]) == 2
    assert "no counter 'other'" in capsys.readouterr().err


def test_a_ledger_that_does_not_start_where_the_settings_say_is_found(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.store(book())
    place.client.put(place.root + "settings", json.dumps(SETTINGS | {"first_number": 5}))
    assert Break.HEAD in {kind for kind, _, _ in found(place, capsys, 1)}


def test_an_export_appears_whole_under_its_name_and_replaces_nothing_unasked(
    place: Place, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place.fill()
    path = tmp_path / "ledger.jsonl"
    asked = ["audit-export", *place.source, "-o", str(path)]
    path.write_text("mine")
    assert main(asked) == 2
    assert "--force" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main([*asked, "--force"]) == 0
    assert main(["validate", "--file", str(path)]) == 0
    assert main([*asked[:-1], str(tmp_path / "none" / "x")]) == 2
    assert main([*asked, "--force", "--counter", "other"]) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["ledger.jsonl"]


def test_an_export_goes_to_the_output_too(
    place: Place, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    place.fill()
    assert main(["audit-export", *place.source, "-o", "-"]) == 0
    lines = capfdbinary.readouterr().out.splitlines()
    assert "end" in json.loads(lines[-1])
    assert sum(line.startswith(b'{"v":2,') for line in lines) == 11


@pytest.mark.parametrize(
    "arguments",
    [
        ["--etcd-endpoints", "http://127.0.0.1:1"],
        ["--etcd-endpoints", "nonsense"],
        ["--etcd-endpoints", "http://127.0.0.1:1", "--url", "http://127.0.0.1:1"],
        ["--url", "http://127.0.0.1:1"],
        ["--counter", "invoice", "--file", "x.jsonl"],
        ["--counter", "a", "--counter", "b"],
        ["--file", "/no/such/file"],
        ["--file", __file__],
    ],
    ids=" ".join,
)
def test_what_cannot_be_proven_is_neither_valid_nor_broken(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("coordinator: ")


def test_the_progress_of_a_long_proof_is_told_now_and_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Meter("invoice", every_s=60)(64, 128)
    assert capsys.readouterr().err == ""
    Meter("invoice", every_s=0)(64, 1_280)
    assert capsys.readouterr().err == "coordinator: invoice: 64 entries done of 1,280\n"


@pytest.mark.parametrize("command", ["", "serve", "status", "validate", "audit-export"])
def test_help_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    assert f"  coordinator {command}" in capsys.readouterr().out.partition("examples:\n")[2]
