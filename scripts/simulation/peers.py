"""The network between the nodes: batches on their way to the node that has the turn, and back.

Nothing is certain on it but that a batch arrives as it was sent: it is lost, late or doubled, the
other node dies or is paused with it, and replies go astray.
"""

import asyncio

from coordinator.core import forwarding
from coordinator.core.forwarding import Forward, Settled
from coordinator.core.keys import CounterKeys
from coordinator.core.requests import Instant
from coordinator.peers import PATIENCE, Declined, NoReply, Silent
from coordinator.service import NotServed, OutcomeUnknown
from coordinator.turn import Holder
from simulation.network import Fate, Fault, Network, PeerNode


class PeersEdge:
    """A node's way to the other nodes. It outlives the runs of the node, as an address does."""

    def __init__(self, node: str, network: Network) -> None:
        self._node = node
        self._network = network
        self._serial = 0

    async def hand_over(
        self, holder: Holder, keys: CounterKeys, forward: Forward, now: Instant
    ) -> Settled:
        """Send a batch once, as bytes."""
        self._serial += 1
        content = forwarding.encode(forward, now)
        errand = _Errand(self._network, self._node, holder.url, self._serial, content)
        return forwarding.decode_settled(await errand.reply, keys)


class _Errand:
    """One batch on its way to another node, and its reply on the way back."""

    def __init__(self, network: Network, node: str, to: str, serial: int, content: bytes) -> None:
        self._network = network
        self._node = node
        self._to = to
        self._content = content
        self._name = f"{node} batch {serial} to {to}"
        self.reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        network.counts["batches handed over"] += 1
        fate = network.fate_of(f"{node} to others", serial)
        network.note(f"{self._name}: is sent" + (f", to be {fate.fault}" if fate.fault else ""))
        self._send(fate)

    def _send(self, fate: Fate) -> None:
        network, fault = self._network, fate.fault
        network.later(PATIENCE.reply_s, self._settle, NoReply("no reply in time"))
        if fault is Fault.REFUSED:
            network.later(fate.there_s, self._settle, Silent("connection refused"))
            return
        if fault not in {Fault.REQUEST_LOST, Fault.LATE}:
            answers = fault in {None, Fault.TWICE}
            network.later(fate.there_s, self._arrive, fate.back_s if answers else None)
        if fault in {Fault.LATE, Fault.TWICE}:
            network.later(fate.there_s + fate.late_s, self._arrive, None)
        if fault not in {None, Fault.TWICE} and fate.heads:
            reset = NoReply("connection reset")
            network.later(fate.there_s + fate.back_s, self._settle, reset)

    def _arrive(self, back_s: float | None) -> None:
        node = self._network.nodes[self._to]
        if node.run is None:
            self._network.note(f"{self._name}: nobody is there")
            if back_s is not None:
                self._network.later(back_s, self._settle, Silent("connection refused"))
            return
        self._network.note(f"{self._name}: arrives")
        loop = asyncio.get_running_loop()
        serving = self._serve(node, back_s)
        self._serving = loop.create_task(serving, context=node.process.context)

    async def _serve(self, node: PeerNode, back_s: float | None) -> None:
        """Have the other node serve it; without ``back_s`` nobody hears its reply."""
        result: bytes | Exception
        try:
            result = await node.take_in(self._content)
        except NotServed as declined:
            result = Declined(str(declined))
        except OutcomeUnknown as unknown:
            result = NoReply(str(unknown))
        if back_s is not None:
            self._network.later(back_s, self._settle, result)

    def _settle(self, result: bytes | Exception) -> None:
        if self.reply.done():
            return
        if isinstance(result, Exception):
            self.reply.set_exception(result)
        else:
            self.reply.set_result(result)
