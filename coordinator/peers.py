"""The way to the other nodes: to hand a batch to the one that has the turn."""

from collections import OrderedDict
from http import HTTPStatus
from typing import Protocol

import orjson

from coordinator.core import forwarding
from coordinator.core.forwarding import Forward, Report
from coordinator.core.keys import CounterKeys
from coordinator.core.requests import Instant
from coordinator.core.unreadable import Unreadable
from coordinator.store.wire import NotSent, Patience, ReplyLost, Wire
from coordinator.turn import Contact

PATIENCE = Patience(connect_s=0.2, reply_s=0.5)
"""Above a commit that rides on a busy node, below what a caller would notice of a dead one."""

PEERS_MAX = 64
PATH = "/internal/turn"


class Declined(Exception):
    """For certain the other node has not committed the batch, and will not."""


class Silent(Exception):
    """The other node cannot be reached, or not this run of it. Nothing came of the batch."""


class NoReply(Exception):
    """The other node may have committed the batch, or may still do so."""


class Peers(Protocol):
    """Hands batches to other nodes."""

    async def hand_over(
        self, holder: Contact, keys: CounterKeys, forward: Forward, now: Instant
    ) -> Report:
        """Return what became of the batch. Raises Declined, Silent or NoReply."""
        ...


class HttpPeers:
    """Over HTTP, on connections that are kept."""

    def __init__(self) -> None:
        self._ways: OrderedDict[str, Wire] = OrderedDict()

    async def hand_over(
        self, holder: Contact, keys: CounterKeys, forward: Forward, now: Instant
    ) -> Report:
        """Send the batch once."""
        path = f"{PATH}?{keys.name}".encode()
        body = forwarding.encode(forward, now)
        try:
            way = self._way_to(holder.url)
            reply = await way.post(path, body, PATIENCE, holder.token.encode())
        except (NotSent, ValueError) as not_sent:
            raise Silent(str(not_sent)) from None
        except ReplyLost as lost:
            raise NoReply(str(lost)) from None
        if reply.status == HTTPStatus.OK:
            try:
                return forwarding.decode_report(reply.body, keys)
            except Unreadable as nonsense:
                raise NoReply(f"{holder.url}: {nonsense}") from None
        said = f"{holder.url}: {reply.status} {reply.body[:200]!r}"
        match _code_in(reply.body):
            case "NB026":  # another run has its place
                raise Silent(said)
            case "NB003" | "NB027":
                raise Declined(said)
            case _:  # only a node knows: something between may have sent it on, and refused then
                raise NoReply(said)

    def _way_to(self, url: str) -> Wire:
        if url not in self._ways:
            self._ways[url] = Wire(url)
            if len(self._ways) > PEERS_MAX:
                _, oldest = self._ways.popitem(last=False)
                oldest.close()
        self._ways.move_to_end(url)
        return self._ways[url]

    def close(self) -> None:
        """Close all connections."""
        for way in self._ways.values():
            way.close()


def _code_in(body: bytes) -> object:
    """Return the code of a node's problem (``coordinator.api.problems``); None for another body."""
    try:
        fields = orjson.loads(body)
    except ValueError:
        return None
    return fields.get("code") if isinstance(fields, dict) else None
