"""A store older than what a node has seen: refused, after a restart too, until that is accepted."""

import asyncio
import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
from http_calls import PLACE
from serving import CALL, KEYS, Switch, node, take, until
from support import ask, etcdctl, running_etcd, running_node, wait_for

from coordinator.app import NodeApp
from coordinator.config import Settings
from coordinator.core.records import LossAccepted, Origin
from coordinator.core.requests import AcceptLoss, Ask, Call, Done, Issue, Refused, Why
from coordinator.core.transaction import Range
from coordinator.history import History
from coordinator.jobs.membership import CannotJoin
from coordinator.sequencer import Sequencer
from coordinator.service import Bounds, StoreDown, TooLate
from coordinator.store.memory import MemoryStore
from coordinator.waiting import WaitingRoom
from coordinator.witness import Seen, Witness, WitnessUnreadable

OPERATOR = Call(Origin("", ""), "operator", 0)


async def node_ahead_of_its_backup(folder: Path) -> tuple[MemoryStore, Path, str]:
    """Return a backup, and the file and hash of a node that has seen five entries more."""
    store = MemoryStore()
    serving = node(store)
    await take(serving, 3)
    backup = copy.deepcopy(store)
    await serving.stop(grace_s=1)
    path = folder / "node-1.json"
    witness = Witness(path)
    again = node(store, witness=witness)
    for _ in range(5):
        await take(again)
    await again.stop(grace_s=1)
    witness.save()
    return backup, path, witness.seen(KEYS.prefix.decode()).tip


async def refused(serving: Sequencer) -> None:
    with pytest.raises(StoreDown, match="does not continue entry 6"):
        await take(serving)
    assert serving.rewound is not None


async def test_a_restarted_node_still_refuses_a_restored_backup(tmp_path: Path) -> None:
    backup, path, _ = await node_ahead_of_its_backup(tmp_path)
    restarted = node(backup, witness=Witness(path))
    await refused(restarted)
    await refused(restarted)  # at once: waiting would not help
    assert (await History(backup, KEYS).prove(start=1)).highest == 3
    await restarted.stop(grace_s=1)


async def test_an_accepted_loss_is_noted_in_the_ledger_and_the_count_goes_on(
    tmp_path: Path,
) -> None:
    backup, path, tip = await node_ahead_of_its_backup(tmp_path)
    witness = Witness(path)
    restarted = node(backup, witness=witness)
    await refused(restarted)
    done = await restarted.accept_loss(AcceptLoss(OPERATOR, 6, tip, "restored after the fire"))
    assert isinstance(done, Done)
    assert isinstance(done.record, LossAccepted)
    assert restarted.rewound is None
    assert await take(restarted) == [4]
    verdict = await History(backup, KEYS).prove(start=1)
    assert (verdict.valid, verdict.highest) == (True, 4)
    await restarted.stop(grace_s=1)
    witness.save()
    again = node(backup, witness=Witness(path))  # and for good
    assert await take(again) == [5]
    await again.stop(grace_s=1)


async def test_an_acceptance_counts_for_one_loss_only(tmp_path: Path) -> None:
    backup, path, tip = await node_ahead_of_its_backup(tmp_path)
    witness = Witness(path)
    switch = Switch(copy.deepcopy(backup))
    restarted = node(switch, witness=witness)
    await refused(restarted)
    await restarted.accept_loss(AcceptLoss(OPERATOR, 6, tip, "restored after the fire"))
    await take(restarted)
    switch.store = backup  # gone back once more
    with pytest.raises(StoreDown, match="does not continue entry"):
        await take(restarted)
    await until(lambda: restarted.rewound is not None, "it refuses")
    assert restarted.rewound is not None
    assert restarted.rewound.tip != tip
    await restarted.stop(grace_s=1)


async def test_a_queue_is_refused_at_once_when_waiting_cannot_help(tmp_path: Path) -> None:
    backup, path, _ = await node_ahead_of_its_backup(tmp_path)
    restarted = node(backup, witness=Witness(path), deadline_s=3600)
    waiting = [restarted.submit(Issue(OPERATOR)) for _ in range(3)]
    for reply in waiting:
        with pytest.raises(StoreDown, match="accept-rewind"):
            await reply
    await restarted.stop(grace_s=1)


def coordinator(*words: str) -> int:
    command = [sys.executable, "-m", "coordinator", *words]
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, timeout=60).returncode


def test_what_was_seen_is_written_as_a_whole_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "state" / "node-1.json"
    witness = Witness(path)
    assert witness.seen("c") == Seen()
    witness.note("c", Seen(7, "ab" * 32))
    witness.save()
    assert Witness(path).seen("c") == Seen(7, "ab" * 32)
    assert [found.name for found in path.parent.iterdir()] == ["node-1.json"]


def test_a_saving_writes_what_has_changed_and_not_all_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / "node-1.json"
    witness = Witness(path)
    for counter in range(10_000):
        witness.note(f"c{counter}", Seen(1, "00" * 32))
    witness.save()
    whole = path.stat().st_size
    sizes = []
    for entry in range(1, 20_001):
        witness.note("c7", Seen(entry, f"{entry:064x}"))
        if entry % 10 == 0:
            witness.save()
            sizes.append(path.stat().st_size)
    assert sizes[0] - whole < 100
    assert max(sizes) < 2 * whole + 100
    witness.note("c7", Seen(20_001, "ab" * 32))
    witness.note("new", Seen(5, "cd" * 32))
    witness.save()
    again = Witness(path)
    assert again.seen("c7") == Seen(20_001, "ab" * 32)
    assert again.seen("new") == Seen(5, "cd" * 32)
    assert again.seen("c9999") == Seen(1, "00" * 32)


def test_a_line_torn_by_a_crash_is_left_out_and_never_written_after(tmp_path: Path) -> None:
    path = tmp_path / "node-1.json"
    witness = Witness(path)
    for entry in (1, 2, 3):
        witness.note("c", Seen(entry, f"{entry:064x}"))
        witness.save()
    complete = path.read_bytes()
    for end in range(complete.index(b"\n") + 1, len(complete) + 1):
        path.write_bytes(complete[:end])
        known = Witness(path)
        lines = complete[: end + 1].count(b"\n")  # a line is whole without its end, too
        assert known.seen("c").entry == lines
        known.note("d", Seen(9, "ab" * 32))
        known.save()
        assert (Witness(path).seen("c").entry, Witness(path).seen("d").entry) == (lines, 9)


def test_what_could_not_be_saved_is_saved_the_next_time(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    witness = Witness(folder / "node-1.json")
    witness.note("c", Seen(1, "ab" * 32))
    witness.save()
    witness.note("c", Seen(2, "ab" * 32))
    folder.rename(tmp_path / "away")
    with pytest.raises(OSError, match="node-1"):
        witness.save()
    folder.mkdir()
    witness.save()
    assert Witness(folder / "node-1.json").seen("c").entry == 2


def test_a_file_of_the_format_before_is_read(tmp_path: Path) -> None:
    path = tmp_path / "node-1.json"
    seen = {"format": 1, "seen": {"c": [7, "ab" * 32]}}
    path.write_text(json.dumps(seen, indent=2))
    assert Witness(path).seen("c") == Seen(7, "ab" * 32)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"format":3,"seen":{}}',
        b'{"format":2,"seen":{}}\n{"c":[7\n{"c":[8,"' + b"ab" * 32 + b'"]}\n',
        b'{"format":2,"seen":{}}\n{"c":[7,"00"]}\n',
        b'{"format":1,"seen":[1]}',
        b'{"format":1,"seen":{"c":[1]}}',
        b'{"format":1,"seen":{"c":[-1,"00"]}}',
    ],
)
async def test_a_damaged_memory_is_no_empty_memory(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "node-1.json").write_bytes(content)
    with pytest.raises(WitnessUnreadable, match="move it away"):
        Witness(tmp_path / "node-1.json")
    with pytest.raises(CannotJoin, match="damaged"):
        NodeApp(Settings(state_dir=str(tmp_path)), MemoryStore())


def test_a_restored_snapshot_is_refused_until_an_operator_accepts_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    flags = ("--state-dir", str(tmp_path / "state"))
    backup = str(tmp_path / "backup")
    for folder in (first, second):
        folder.mkdir()
    with running_etcd(first) as etcd, running_node(first, etcd, *flags) as url:
        assert ask(url, "next", PLACE | {"count": 5})[0] == 200
        etcdctl(etcd, "snapshot", "save", backup)
        assert ask(url, "next", PLACE | {"count": 5})[0] == 200
    at = "http://localhost:2380"
    cluster = ("--name", "test", "--initial-cluster", f"test={at}")
    data = ("--data-dir", str(second / "etcd"), "--initial-advertise-peer-urls", at)
    etcdctl(etcd, "snapshot", "restore", backup, *cluster, *data)

    with (
        running_etcd(second) as etcd,
        running_node(second, etcd, *flags, answering="/livez") as url,
    ):
        wait_for(lambda: ask(url, "../cluster")[1]["rewinds"], 5, "it knows before any request")
        status, problem = ask(url, "next", PLACE)
        assert (status, problem["code"]) == (503, "NB008")
        assert "--accept-rewind" in problem["detail"]
        cluster = ask(url, "../cluster")[1]
        assert len(cluster["rewinds"]) == 1
        assert "node-1 does not serve invoice" in cluster["warnings"][0]
        wrong = {"lostHash": "0" * 16, "reason": "by mistake"}
        assert ask(url, "../admin/accept-rewind", wrong)[1]["code"] == "NB024"
        words = ["set", "--accept-rewind", "--url", url]
        assert coordinator(*words) == 2  # nobody there who could be asked
        assert ask(url, "next", PLACE)[0] == 503
        assert coordinator(*words, "--reason", "restored after the fire", "--yes") == 0
        assert coordinator(*words, "--reason", "once more", "--yes") == 0  # nothing left to accept
        assert ask(url, "next", PLACE)[1]["sequenceNumbers"] == [6]
        assert ask(url, "validate")[1]["valid"]
        adjusted = ask(url, "audit?operationType=ADJUST")[1]
        assert [row["reason"] for row in adjusted] == ["restored after the fire"]
        assert ask(url, "../cluster")[1]["rewinds"] == []


async def test_one_key_accepts_at_two_nodes_and_a_repetition_is_told_the_same(
    tmp_path: Path,
) -> None:
    backup, path, tip = await node_ahead_of_its_backup(tmp_path)
    keyed = AcceptLoss(OPERATOR._replace(key="decision-1", payload="p"), 6, tip, "fire")
    nodes = [node(backup, name, witness=Witness(path)) for name in ("node-1", "node-2")]
    done = []
    for each in nodes:
        await refused(each)
        done.append(await each.accept_loss(keyed))
        await take(each)
    done.append(await nodes[0].accept_loss(keyed._replace(entry=0)))
    assert [getattr(answer, "replayed", None) for answer in done] == [False, True, True]
    other = await nodes[0].accept_loss(AcceptLoss(OPERATOR, 0, "0" * 64, "by mistake"))
    assert isinstance(other, Refused)
    assert other.why is Why.NOTHING_LOST
    for each in nodes:
        await each.stop(grace_s=1)
    assert (await History(backup, KEYS).prove(start=1)).valid


async def test_an_entry_of_a_newer_format_is_no_rewind() -> None:
    store = MemoryStore()
    old, new = node(store), node(store, "node-2")
    await take(old)
    await take(new)
    (found,) = (await store.read(Range(KEYS.entry(2)))).found
    store._set(KEYS.entry(2), found[0].value.replace(b'{"v":2', b'{"v":3'))
    with pytest.raises(StoreDown, match="cannot be read"):
        await take(old)
    assert old.rewound is None
    for each in (old, new):
        await each.stop(grace_s=1)


async def test_an_acceptance_that_fails_has_no_effect(tmp_path: Path) -> None:
    backup, path, tip = await node_ahead_of_its_backup(tmp_path)
    switch = Switch(backup)
    restarted = node(switch, witness=Witness(path), deadline_s=1.0)  # above the longest pause
    await refused(restarted)
    switch.refuses = True
    with pytest.raises(StoreDown, match="connection refused"):
        await restarted.accept_loss(AcceptLoss(OPERATOR, 6, tip, "fire"))
    switch.refuses = False
    await until(lambda: "does not continue" in restarted.trouble, "it has looked again")
    await refused(restarted)
    assert await restarted.accept_loss(AcceptLoss(OPERATOR, 6, tip, "fire"))
    assert await take(restarted) == [4]
    await restarted.stop(grace_s=1)


async def test_what_lost_entries_had_issued_is_not_given_back_after_the_acceptance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coordinator.unheard.PAUSE_S", 0.01)
    switch = Switch(MemoryStore())
    serving = node(switch, deadline_s=0.3)
    await take(serving)
    backup = copy.deepcopy(switch.store)
    request = Issue(OPERATOR._replace(origin=CALL.origin))
    reply = serving.submit(request)
    assert (await reply).record.numbers() == [2]  # type: ignore[union-attr]
    switch.refuses = True
    serving.caller_left(request, reply)
    await asyncio.sleep(0.05)
    switch.store, switch.refuses = backup, False
    other = node(backup, "node-2")
    assert await take(other) == [2]  # in an entry of the same index
    await until(lambda: serving.rewound is not None, "it refuses")
    assert serving.rewound is not None
    await serving.accept_loss(AcceptLoss(OPERATOR, 2, serving.rewound.tip, "fire"))
    await asyncio.sleep(0.1)
    assert await take(serving) == [3]
    verdict = await History(backup, KEYS).prove(start=1)
    assert (verdict.valid, verdict.gaps) == (True, ())
    for each in (serving, other):
        await each.stop(grace_s=1)


async def test_only_a_real_acceptance_goes_before_those_who_wait() -> None:
    room = WaitingRoom(Bounds(), lambda _: TooLate("x"))
    asked = [Issue(CALL), AcceptLoss(OPERATOR, 0, "", "x"), AcceptLoss(OPERATOR, 5, "", "x")]
    waiting = [room.admit(Ask(request)) for request in asked]
    for pending in waiting:
        room.enqueue(pending)
    assert room.take(10) == waiting[2:]
    assert room.take(10) == waiting[:2]
    room.close()
    for pending in waiting:
        assert isinstance(pending.reply.exception(), TooLate)
