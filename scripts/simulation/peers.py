"""The network between the nodes: batches on their way to the node that has the turn, and back.

Nothing is certain on it but that a batch arrives as it was sent: it is lost, late or doubled, two
nodes are cut off from each other, the other node dies or is paused with it, and replies go astray.
"""

import asyncio
from collections.abc import Callable

from coordinator.core import forwarding
from coordinator.core.forwarding import Forward, Report
from coordinator.core.keys import CounterKeys
from coordinator.core.requests import Instant
from coordinator.peers import Declined, NoReply, Silent
from coordinator.service import NotServed, OutcomeUnknown
from coordinator.turn import Contact
from simulation.network import Fate, Fault, Network, PeerNode

IN_WORDS = {
    bytes: "batches served",
    Declined: "batches declined",
    Silent: "batches not sent",
    NoReply: "batches without a reply",
}


class PeersEdge:
    """A node's way to the other nodes. It outlives the runs of the node, as an address does."""

    def __init__(self, node: str, network: Network, is_loaded: Callable[[], bool]) -> None:
        self._node = node
        self._network = network
        self._is_loaded = is_loaded
        self._serial = 0

    async def hand_over(
        self, holder: Contact, keys: CounterKeys, forward: Forward, now: Instant
    ) -> Report:
        """Send a batch once, as bytes."""
        self._serial += 1
        counts = self._network.counts
        counts["batches handed over"] += 1
        counts["batches of nodes without a replica"] += not self._is_loaded()
        name = f"{self._node} batch {self._serial} to {holder.node}"
        errand = _Errand(self._network, self._node, holder, name, forward, now)
        sender = f"{self._node} to others"
        errand.send(self._network.fate_of(sender, self._serial, to_a_node=True))
        content = await errand.reply
        self._network.heard.add(errand.batch)
        return forwarding.decode_report(content, keys)


class _Errand:
    """One batch on its way to another node, and its reply on the way back."""

    def __init__(
        self,
        network: Network,
        node: str,
        holder: Contact,
        name: str,
        forward: Forward,
        now: Instant,
    ) -> None:
        self.batch = forward.part[1:3]
        self._network = network
        self._node = node
        self._to = holder
        self._name = name
        self._content = forwarding.encode(forward, now)
        self._serving: list[asyncio.Task[None]] = []
        self._knows_token = False
        """Whether another run of the other node lets it in as well: nothing may rest on that."""
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def send(self, fate: Fate) -> None:
        """Let it meet its fate."""
        network, fault = self._network, fate.fault
        self._knows_token = fate.heads
        if network.are_cut(self._node, self._to.node):
            fault = Fault.REFUSED if fate.heads else Fault.CUT
        network.note(f"{self._name}: is sent" + (f", to be {fault}" if fault else ""))
        network.sent.add(self.batch)
        network.later(network.patience_s, self._settle, NoReply("no reply in time"))
        if fault is Fault.REFUSED:
            network.later(fate.there_s, self._settle, Silent("connection refused"))
            return
        if fault not in {Fault.REQUEST_LOST, Fault.LATE, Fault.CUT}:
            answers = fault in {None, Fault.TWICE}
            network.later(fate.there_s, self._arrive, fate.back_s if answers else None)
        if fault in {Fault.LATE, Fault.TWICE}:
            network.later(fate.there_s + fate.late_s, self._arrive, None)
        if fault not in {None, Fault.TWICE, Fault.CUT} and fate.heads:
            reset = NoReply("connection reset")
            network.later(fate.there_s + fate.back_s, self._settle, reset)

    def _arrive(self, back_s: float | None) -> None:
        network = self._network
        if network.are_cut(self._node, self._to.node):
            network.note(f"{self._name}: does not arrive")
            return
        node = network.nodes[self._to.url]
        if node.run is None:
            network.note(f"{self._name}: nobody is there")
            self._answer(back_s, Silent("connection refused"))
            return
        if node.run != self._to.token and not self._knows_token:
            network.note(f"{self._name}: finds another run there")
            self._answer(back_s, Silent("403: this address is for other nodes"))
            return
        gone_on = self.reply.done()
        network.note(f"{self._name}: arrives" + (", its sender has gone on" if gone_on else ""))
        network.counts["batches that arrived when their sender had gone on"] += gone_on
        others = [name for name, batches in network.guests.items() if batches]
        network.counts["two nodes with the turn at once"] += bool(set(others) - {node.name})
        loop = asyncio.get_running_loop()
        serving = self._serve(node, back_s)
        self._serving.append(loop.create_task(serving, context=node.process.context))

    async def _serve(self, node: PeerNode, back_s: float | None) -> None:
        """Have the other node serve it; without ``back_s`` nobody hears its reply."""
        result: bytes | Exception
        guests = self._network.guests.setdefault(node.name, [])
        guests.append(self.batch)
        self._network.guest_came(node.name)
        try:
            result = await node.take_in(self._content)
        except NotServed as declined:
            result = Declined(str(declined))
        except OutcomeUnknown as unknown:
            result = NoReply(str(unknown))
        finally:
            guests.remove(self.batch)
        if not self._network.are_cut(self._node, node.name):
            self._answer(back_s, result)

    def _answer(self, back_s: float | None, result: bytes | Exception) -> None:
        if back_s is not None:
            self._network.later(back_s, self._settle, result)

    def _settle(self, result: bytes | Exception) -> None:
        if self.reply.done():
            return
        network = self._network
        network.counts[IN_WORDS[type(result)]] += 1
        if isinstance(result, Exception):
            network.note(f"{self._name}: {result!r}")
            self.reply.set_exception(result)
        else:
            network.note(f"{self._name}: is served")
            self.reply.set_result(result)
