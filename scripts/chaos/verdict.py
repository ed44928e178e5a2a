"""The judgement at the end: what clients were told, held against the ledger and the nodes."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from chaos.clients import KEYED_ANSWERED, SAME_ANSWER, Fate
from chaos.members import GatewayError, hashes
from chaos.replay import ALL, KEY_TWICE, Replayed, compare_derived, replay

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from chaos.books import Asked, Books
    from chaos.clients import Caller
    from chaos.injector import Struck
    from chaos.installation import Installation
    from chaos.members import Gateway

COUNTER = b"/sequence/c/invoice/"
EXAMPLES_MAX = 5
SAMPLE_MAX = 500
REPEATS_AT_ONCE = 32
TRIES_MAX = 20
PATIENCE_S = 15.0
VALIDATE_S_MAX = 120.0
HASHES_S_MAX = 20.0
WELL_S_MAX = 90.0
TRACE_LINES = 40
TRACES = ("Traceback (most recent call last)", "was never retrieved", "Unclosed ")


class Check(NamedTuple):
    """A statement about the run, whether it is true, and with which figures."""

    name: str
    ok: bool
    detail: str


class Fates(NamedTuple):
    """What the keys came to that were given up without an answer."""

    none: int  # nothing was in the ledger; the repeat at the end made it
    one: int


async def read_ledger(gateway: Gateway) -> Replayed:
    """Replay the ledger as it stands in the store now."""
    entries = [(_number(pair.key), pair.value) async for pair in gateway.pairs(COUNTER + b"entry/")]
    replayed = replay(entries)
    heads = [pair.value async for pair in gateway.pairs(COUNTER + b"head")]
    gaps = [_number(pair.key) async for pair in gateway.pairs(COUNTER + b"gap/")]
    compare_derived(replayed, heads[0] if heads else b"", gaps)
    return replayed


def _number(key: bytes) -> int:
    return int(key.rpartition(b"/")[2])


async def judge(
    installation: Installation,
    caller: Caller,
    struck: Sequence[Struck],
    draw: random.Random,
    say: Callable[[str], None],
) -> tuple[list[Check], Replayed, Fates]:
    """Wait until all is well, repeat what must be repeated, and check everything."""
    books = caller.books
    healthy, ready = installation.members_are_healthy, installation.nodes_are_ready
    await installation.wait_until("all members are well", healthy, WELL_S_MAX)
    await installation.wait_until("all nodes are ready", ready, WELL_S_MAX)
    gateway = next(iter(installation.members.values()))
    say("  replaying the ledger")
    before = await read_ledger(gateway)
    abandoned = [asked for asked in books.keyed.values() if asked.abandoned]
    one = sum(asked.key in before.by_key for asked in abandoned)
    say("  repeating keys at every node")
    repeated = await _repeat_everywhere(caller, abandoned, draw)
    say("  replaying the ledger again, and asking nodes and members")
    after = await read_ledger(gateway)
    checks = [
        *check_books(books, after),
        Check(
            SAME_ANSWER,
            not books.wrong.get(SAME_ANSWER),
            f"{repeated} keys repeated at {len(caller.names)} nodes{_examples(books, SAME_ANSWER)}",
        ),
        _check_unknown(books, before, after, len(abandoned), one),
        *check_replay(after),
        await _check_hashes(installation),
        await _check_valid(installation),
        _check_logs(installation),
        _check_faults(struck),
    ]
    return checks, after, Fates(len(abandoned) - one, one)


async def _repeat_everywhere(caller: Caller, abandoned: list[Asked], draw: random.Random) -> int:
    """Repeat at every node what was given up, what was in doubt, and a sample of the rest."""
    others = [asked for asked in caller.books.keyed.values() if not asked.abandoned]
    in_doubt = [asked for asked in others if asked.doubts]
    clear = [asked for asked in others if not asked.doubts]
    sample = draw.sample(clear, min(len(clear), SAMPLE_MAX))
    chosen = [asked for asked in (*abandoned, *in_doubt, *sample) if not asked.refusal]
    at_once = asyncio.Semaphore(REPEATS_AT_ONCE)

    async def repeat(asked: Asked) -> None:
        async with at_once:
            for node in draw.sample(caller.names, len(caller.names)):
                await _until_settled(caller, asked, node)

    await asyncio.gather(*map(repeat, chosen))
    return len(chosen)


async def _until_settled(caller: Caller, asked: Asked, node: str) -> None:
    for _ in range(TRIES_MAX):
        if await caller.attempt(asked, node, PATIENCE_S) is Fate.SETTLED:
            return
        await asyncio.sleep(0.2)
    caller.books.finds(KEYED_ANSWERED, f"{asked.key}: no answer from {node} when all is well")


def check_books(books: Books, ledger: Replayed) -> list[Check]:
    """Hold what clients were told against the ledger."""
    acknowledged = [asked for asked in books.keyed.values() if asked.answer is not None]
    lost = [asked.key for asked in acknowledged if not _is_committed(asked, ledger)]
    lost += [
        name
        for name, numbers in books.keyless.items()
        if ledger.keyless.get(name) != numbers  # its only record, with these numbers
    ]
    keyed = [asked for asked in books.keyed.values() if not asked.abandoned]
    unanswered = [asked.key for asked in keyed if not asked.settled]
    denied = sorted(books.told_nothing & ledger.correlations.keys())
    doubles = _given_too_often(books)
    asked_of = len(acknowledged) + len(books.keyless)
    return [
        _check("acknowledged is committed", lost, f"{asked_of} answers"),
        _check("no number under two keys, by the answers alone", doubles, f"{asked_of} answers"),
        Check(
            KEYED_ANSWERED,
            not unanswered and not books.wrong.get(KEYED_ANSWERED),
            f"{len(keyed)} requests, {len(unanswered)} without an answer"
            f"{_examples(books, KEYED_ANSWERED)}",
        ),
        _check(
            "what was told 'nothing was allocated' is not in the ledger",
            denied,
            f"{len(books.told_nothing)} attempts",
        ),
    ]


def _is_committed(asked: Asked, ledger: Replayed) -> bool:
    found = ledger.by_key.get(asked.key)
    kind = "issue" if asked.path == "next" else "release"
    return found is not None and (found.kind, found.numbers) == (kind, asked.numbers)


def _given_too_often(books: Books) -> list[str]:
    """Return numbers that were acknowledged more often than they were asked to be taken back."""
    given: Counter[int] = Counter()
    back: Counter[int] = Counter()
    for asked in books.keyed.values():
        if asked.path == "next":
            given.update(asked.numbers)
        else:
            back[int(asked.body["sequenceNumber"])] += 1
    for numbers in books.keyless.values():
        given.update(numbers)
    return [
        f"{number}: {times} times" for number, times in given.items() if times > 1 + back[number]
    ]


def _check_unknown(
    books: Books, before: Replayed, after: Replayed, abandoned: int, one: int
) -> Check:
    """Check that each key whose answer was lost is in the ledger once at most, and now once."""
    in_doubt = [asked for asked in books.keyed.values() if asked.doubts]
    twice = len(before.wrong[KEY_TWICE]) + len(after.wrong[KEY_TWICE])
    open_still = [asked.key for asked in in_doubt if asked.key not in after.by_key]
    return Check(
        "every unknown came to none or one",
        not twice and not open_still,
        f"{len(in_doubt)} keys in doubt at some time; {abandoned} of them given up: "
        f"{abandoned - one} none, {one} one; {len(open_still)} open still",
    )


def check_replay(ledger: Replayed) -> list[Check]:
    """Return one check for each rule of the replay."""
    figures = (
        f"{ledger.entries} entries, numbers 1 to {ledger.next - 1}, "
        f"{len(ledger.issued)} issued, {len(ledger.gaps)} gaps"
    )
    return [_check(name, ledger.wrong[name], figures) for name in ALL]


async def _check_hashes(installation: Installation) -> Check:
    urls = [gateway.url for gateway in installation.members.values()]
    ends = time.monotonic() + HASHES_S_MAX
    while True:
        try:
            found = await asyncio.to_thread(hashes, installation.etcdctl, urls)
            detail = ", ".join(f"{hash_} at {revision}" for hash_, revision in found.values())
        except GatewayError as trouble:
            found, detail = {}, str(trouble)
        if len(found) == len(urls) and len(set(found.values())) == 1:
            return Check("all members hold the same keys", ok=True, detail=detail)
        if time.monotonic() > ends:
            return Check("all members hold the same keys", ok=False, detail=detail)
        await asyncio.sleep(0.5)


async def _check_valid(installation: Installation) -> Check:
    said = {}
    for name in installation.nodes:
        said[name] = await installation.ask_node(name, "validate", VALIDATE_S_MAX)
    bad = [f"{name}: {str(answer)[:200]}" for name, answer in said.items() if not _valid(answer)]
    return _check("every node finds the ledger valid", bad, f"{len(said)} nodes")


def _valid(answer: object) -> bool:
    return isinstance(answer, dict) and answer.get("valid") is True


def _check_logs(installation: Installation) -> Check:
    found, looked_at = [], 0
    for log in sorted(installation.logs.glob("node-*.log*")):
        lines = log.read_text("utf-8", errors="replace").splitlines()
        looked_at += len(lines)
        told = 0
        for at, line in enumerate(lines):
            if at >= told and any(trace in line for trace in TRACES):
                told = at + TRACE_LINES
                found.append(f"{log.name}, line {at + 1}:\n" + "\n".join(lines[at:told]) + "\n")
    return _check("no node's log has a traceback", found, f"{looked_at} lines")


def _check_faults(struck: Sequence[Struck]) -> Check:
    bad = [f"{s.kind} {s.target}: {s.trouble[:300]}" for s in struck if s.trouble]
    bad += [] if struck else ["no fault struck at all"]
    bad += [
        f"{s.kind} {s.target}: no success after it"
        for s in struck
        if not s.trouble and s.first_success_s is None
    ]
    return _check("service came back by itself after every fault", bad, f"{len(struck)} faults")


def _check(name: str, wrong: Sequence[str], of: str) -> Check:
    shown = [what for what in wrong if what][:EXAMPLES_MAX]
    bad = f"; {len(wrong)} wrong: {'; '.join(shown)}" if wrong else ""
    return Check(name, not wrong, f"{of}{bad}")


def _examples(books: Books, check: str) -> str:
    wrong = books.wrong.get(check, [])
    return f"; {len(wrong)} wrong: {'; '.join(wrong[:EXAMPLES_MAX])}" if wrong else ""
