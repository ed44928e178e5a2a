"""A node takes in batches of others: only on the history that they have seen, each one once."""

import asyncio
import copy

import pytest
from sharing import Fault, Gate, Town, ask, call, numbers_in, take
from support import until

from coordinator.core.forwarding import Forward
from coordinator.core.ledger import NO_HASH
from coordinator.core.records import LossAccepted, Part
from coordinator.core.requests import AcceptLoss, Ask, Done, Issue
from coordinator.core.transaction import Transaction
from coordinator.sequencer import Sequencer
from coordinator.service import NotServed, OutcomeUnknown, StoreDown
from coordinator.store import Outcome, Unknown
from coordinator.witness import Seen, Witness

STRANGE = "ab" * 32
"""A hash that no entry has."""


pytestmark = pytest.mark.usefixtures("no_pauses")


def batch(seen: Seen, serial: int = 1, run: str = "guest.1", name: str = "q") -> Forward:
    return Forward(Part("guest", run, serial), *seen, (Ask(Issue(call(name))),))


async def tips(town: Town) -> list[Seen]:
    """Return every entry with its hash; the first is the one before all."""
    following = [entry.previous for entry in await town.entries()][1:]
    return [Seen(0, NO_HASH), *(Seen(at, tip) for at, tip in enumerate(following, 1))]


async def hand_in(serving: Sequencer, forward: Forward) -> None:
    async with asyncio.timeout(10):
        await serving.reception.take_in(forward)


async def test_a_batch_is_taken_only_on_the_history_that_its_sender_has_seen(town: Town) -> None:
    serving = await town.node("only")
    for _ in range(5):
        await take(serving)
    before = await town.entries()
    wrong = [Seen(5, STRANGE), Seen(3, STRANGE), Seen(0, STRANGE), Seen(6, STRANGE), Seen(99, "")]
    for serial, seen in enumerate(wrong, 1):
        with pytest.raises(NotServed):
            await hand_in(serving, batch(seen, serial))
    assert await town.entries() == before
    await hand_in(serving, batch(serving._replica.seen, len(wrong) + 1))
    await town.check([1, 2, 3, 4, 5, 6])


async def test_a_batch_of_who_is_behind_is_taken_once_it_is_proven(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.guests.RECENT_MAX", 1)
    serving = await town.node("only")
    for _ in range(5):
        await take(serving)
    known = await tips(town)
    await hand_in(serving, batch(known[0], run="a.1"))  # its hash is read from the ledger
    await hand_in(serving, batch(known[3], run="b.1"))
    with pytest.raises(NotServed):  # it has a part in entry 6
        await hand_in(serving, batch(known[4], serial=2, run="a.1"))
    await town.check(list(range(1, 8)))


async def test_what_a_run_has_done_before_the_counter_was_loaded_counts_as_newer(
    town: Town,
) -> None:
    first = await town.node("first")
    for _ in range(3):
        await take(first)
    known = await tips(town)
    late = await town.node("late")
    await take(late)
    with pytest.raises(NotServed):
        await hand_in(late, batch(known[2]))
    await town.check([1, 2, 3, 4])


async def test_a_batch_comes_true_once_and_an_older_one_never_after_a_newer(town: Town) -> None:
    serving = await town.node("only")
    await take(serving)
    seen = serving._replica.seen
    await hand_in(serving, batch(seen, serial=5))
    for serial in (5, 4):
        with pytest.raises(OutcomeUnknown):
            await hand_in(serving, batch(seen, serial))
    with pytest.raises(NotServed):
        await hand_in(serving, batch(seen, serial=6))
    await town.check([1, 2])


async def test_a_newer_batch_of_a_run_takes_the_place_of_the_one_that_waits(town: Town) -> None:
    gate = Held(town.store)
    serving = await town.node("only", store=gate)
    await take(serving)
    gate.open.clear()
    own = asyncio.create_task(take(serving))
    await until(lambda: gate.held, "a commit is under way")
    seen = serving._replica.seen
    older = asyncio.create_task(hand_in(serving, batch(seen, 1, name="older")))
    await asyncio.sleep(0)
    newer = asyncio.create_task(hand_in(serving, batch(seen, 2, name="newer")))
    with pytest.raises(NotServed, match="newer"):
        await older
    gate.open.set()
    await newer
    assert await own == [2]
    names = [r.cause.correlation for e in await town.entries() for r in e.records]
    assert names[-1] == "newer"
    await town.check([1, 2, 3])


async def test_a_proof_from_a_store_that_went_back_meanwhile_proves_nothing(town: Town) -> None:
    """The node is behind the sender, and follows another history before it comes to the batch."""
    gate = Held(town.store)
    behind, ahead = await town.node("behind", store=gate), await town.node("ahead")
    await take(behind)
    backup = copy.deepcopy(town.store)
    for _ in range(5):
        await take(ahead)
    lost = await tips(town)
    gate.open.clear()
    own = asyncio.create_task(take(behind))
    await until(lambda: gate.held, "its own commit is under way")
    asking = asyncio.create_task(hand_in(behind, batch(lost[3])))
    await until(lambda: behind._committer.guests or asking.done(), "the batch has been looked at")
    restored = Town(backup)
    restored.keys = town.keys
    gate.store = backup
    anew = await restored.node("anew")
    for _ in range(8):
        await take(anew)
    gate.open.set()
    with pytest.raises(NotServed):
        await asking
    assert await own == [10]
    await anew.stop(1)


class Held(Gate):
    """Holds commits back until it is open."""

    def __init__(self, store: object) -> None:
        super().__init__(store)
        self.open = asyncio.Event()
        self.open.set()
        self.held = 0

    async def commit(self, transaction: Transaction) -> Outcome:
        self.held += not self.open.is_set()
        await self.open.wait()
        return await super().commit(transaction)


async def test_a_node_that_stops_tells_its_guests_what_is_certain(town: Town) -> None:
    gate = Held(town.store)
    serving = await town.node("only", store=gate)
    await take(serving)
    gate.open.clear()
    seen = serving._replica.seen
    sent = asyncio.create_task(hand_in(serving, batch(seen, run="sent.1")))
    await until(lambda: gate.held, "its commit is under way")
    waits = asyncio.create_task(hand_in(serving, batch(seen, run="waits.1")))
    await asyncio.sleep(0)
    await serving.stop(grace_s=0)
    with pytest.raises(OutcomeUnknown):
        await sent
    with pytest.raises(StoreDown, match="stopping"):
        await waits
    with pytest.raises(StoreDown, match="stopping"):
        await hand_in(serving, batch(seen, run="late.1"))
    await town.check([1])


async def test_a_node_that_stops_serves_its_guests_within_its_grace(town: Town) -> None:
    gate = Held(town.store)
    serving = await town.node("only", store=gate)
    await take(serving)
    gate.open.clear()
    seen = serving._replica.seen
    guests = [
        asyncio.create_task(hand_in(serving, batch(seen, run=f"guest.{at}"))) for at in range(3)
    ]
    await until(lambda: gate.held, "the commit of the first is under way")
    stopping = asyncio.create_task(serving.stop(grace_s=5))
    await asyncio.sleep(0)
    gate.open.set()
    await stopping
    await asyncio.gather(*guests)
    await town.check([1, 2, 3, 4])


async def test_a_guest_whose_commit_is_in_doubt_is_not_told_that_nothing_was_done(
    town: Town,
) -> None:
    gate = Gate(town.store)
    serving = await town.node("only", store=gate)
    await take(serving)
    gate.outcomes = [Unknown("reply lost")]
    await hand_in(serving, batch(serving._replica.seen))
    await town.check([1, 2])


async def test_a_loss_is_accepted_by_the_node_that_was_asked_also_if_it_hands_over(
    town: Town,
) -> None:
    holder = await town.node("holder")
    await take(holder)
    witness = Witness()
    witness.note(town.keys.prefix.decode(), Seen(9, STRANGE))
    other = await town.node("other", witness=witness)
    other.probe()
    await until(lambda: other.rewound, "it sees that the store went back")
    other._handing.turn._rely_on(holder._handing.turn._seat.me)
    asked = AcceptLoss(call("accepted"), 9, STRANGE, "restored by hand")
    async with asyncio.timeout(10):
        answer = await other.accept_loss(asked)
    assert isinstance(answer, Done)
    assert isinstance(answer.record, LossAccepted)
    assert answer.entry.parts[0].node == "other"
    assert numbers_in(await ask(other, Issue(call()))) == [2]
    await town.check([1, 2])


async def test_open_batches_survive_the_acceptance_of_a_loss(town: Town) -> None:
    """What another node has committed in the restored store is found out before planning anew."""
    _, other = await town.pair()
    way = town.ways["other"]
    way.faults.append(Fault.HELD)
    taking = asyncio.create_task(take(other))
    await until(lambda: way.counts["served"], "its batch is committed")
    other._replica._witness.note(other._replica._name, Seen(9, STRANGE))
    other._replica.forget()
    asked = AcceptLoss(call("accepted"), 9, STRANGE, "restored by hand")
    accepting = other.accept_loss(asked)
    way.let_go.set()
    async with asyncio.timeout(10):
        assert isinstance(await accepting, Done)
    assert await taking == [5]
    await town.check([1, 2, 3, 4, 5])
