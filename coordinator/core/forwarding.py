"""A batch that one node hands to another, to be committed among its own: the words of both sides.

Such a batch is guarded like a transaction. It names the newest ledger entry that its sender has
seen, with its hash, and it holds only on a ledger that has this entry, and after it no part of this
run of the sender (``CounterState.has_nothing_newer_of``). So of all that a sender hands over or
commits from one place in the ledger on, one batch at most comes true; and any part of its run that
it did not know of settles everything that was open. A lost reply is found out by reading on.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import orjson

from coordinator.core.catalogue import RESERVATION_S_MAX
from coordinator.core.keys import CounterKeys
from coordinator.core.records import How, Latency, Origin, Part
from coordinator.core.requests import (
    Ask,
    Call,
    Holder,
    Instant,
    Issue,
    Refused,
    Release,
    Request,
    Reserve,
    Settle,
    Why,
)
from coordinator.core.templates import Writing
from coordinator.core.tokens import SEQ_WIDTH_MAX
from coordinator.core.transaction import KeyValue
from coordinator.core.unreadable import (
    Unreadable,
    digest_of_entry,
    flag,
    text,
    text_or_none,
    whole,
)

ASKS_MAX = 256
"""Requests in one such batch: several nodes' fit into one transaction."""


PLAIN = "plain"
"""Requests for one number each, of one origin, one after the other: they share a block."""


class Forward(NamedTuple):
    """A batch handed over by ``part``; it has seen the ledger up to ``seen``, of hash ``tip``."""

    part: Part
    seen: int
    tip: str
    asks: tuple[Ask, ...]


class Report(NamedTuple):
    """What became of it: ``found`` are the head and the newest entries.

    What was done stands in the entry with the sender's part. Of the others, by their position in
    the batch: ``refused`` for good; or ``unproven``, to be asked again with newer evidence: who
    holds the number now, or the ledger entries named. Whoever is in neither did not fit.
    """

    found: tuple[tuple[KeyValue, ...], ...]
    refused: tuple[tuple[int, Refused], ...] = ()
    unproven: tuple[tuple[int, tuple[int, ...]], ...] = ()


def may_be_handed_over(ask: Ask) -> bool:
    """Tell whether another node can serve this: it needs no ledger entries as evidence."""
    return isinstance(ask.request, Issue | Release | Reserve | Settle) and not ask.earlier


def encode(forward: Forward, now: Instant) -> bytes:
    """Return a batch as it is sent; times are told as having waited, for clocks differ."""
    origins: dict[Origin, int] = {}
    blocks: list[list[Any]] = []
    for ask in forward.asks:
        call = ask.request.call
        origin = origins.setdefault(call.origin, len(origins))
        waited_us = max(0, now.monotonic_us - call.arrived_us)
        if not _is_plain(ask.request):
            blocks.append(_encode_ask(ask, origin, waited_us))
        elif blocks and blocks[-1][0] == PLAIN and blocks[-1][1] == origin:
            blocks[-1][2].append(call.correlation)
            blocks[-1][3].append(waited_us)
        else:
            blocks.append([PLAIN, origin, [call.correlation], [waited_us]])
    return orjson.dumps(
        {
            "a": [*forward.part[:3], *forward.part.latency],
            "i": forward.seen,
            "p": forward.tip,
            "c": [list(origin) for origin in origins],
            "r": blocks,
        }
    )


def _is_plain(request: Request) -> bool:
    """Tell whether a request says no more than: this caller wants one number."""
    if type(request) is not Issue or request.quantity != 1 or request.release_at_once:
        return False
    return request.call.key is None and request.call.metadata is None


def _encode_ask(ask: Ask, origin: int, waited_us: int) -> list[Any]:
    call, holder = ask.request.call, ask.holder
    who = [origin, call.correlation, waited_us, call.key, call.payload, call.metadata]
    match ask.request:
        case Issue(_, quantity, at_once):
            return ["issue", *who, quantity, at_once]
        case Release(_, number, reason, issued_in):
            proof = None
            if holder is not None:
                of = None if holder.origin is None else list(holder.origin)
                proof = [*holder[:3], of, holder.trimmed, holder.text]
            return ["release", *who, number, reason, issued_in, proof]
        case Reserve(_, writing, kept_s, token):
            return ["reserve", *who, kept_s, token, *writing]
        case Settle(_, number, token, how, voids, reason):
            return ["settle", *who, number, token, how, voids, reason]
        case other:
            raise ValueError(f"{type(other).__name__} is not handed over")


def decode(content: bytes, now: Instant) -> Forward:
    """Return the batch that was sent. Raises Unreadable when it is none."""
    try:
        fields = orjson.loads(content)
        node, instance, serial, *latency = fields["a"]
        answers, total_us, peak_us = map(whole, latency)
        origins = [_decode_origin(origin) for origin in fields["c"]]
        return Forward(
            Part(text(node), text(instance), whole(serial), Latency(answers, total_us, peak_us)),
            whole(fields["i"]),
            digest_of_entry(fields["p"]),
            tuple(_decode_blocks(fields["r"], origins, now.monotonic_us)),
        )
    except (KeyError, TypeError, IndexError, ValueError) as broken:
        raise Unreadable(f"a forwarded batch: {broken}") from broken


def _decode_origin(fields: list[Any]) -> Origin:
    site, partition, invoice_type, user, address, agent = fields
    return Origin(
        text(site), text(partition), *map(text_or_none, (invoice_type, user, address, agent))
    )


def _decode_blocks(blocks: list[Any], origins: list[Origin], now_us: int) -> Iterator[Ask]:
    for kind, origin, *fields in blocks:
        by = origins[whole(origin)]
        if kind == PLAIN:
            for correlation, waited_us in zip(*fields, strict=True):
                yield Ask(Issue(Call(by, text(correlation), now_us - whole(waited_us))))
        else:
            yield _decode_ask(kind, by, now_us, *fields)


def _decode_ask(kind: str, by: Origin, now_us: int, *fields: Any) -> Ask:
    correlation, waited_us, key, payload, metadata, *what = fields
    call = Call(
        by,
        text(correlation),
        now_us - whole(waited_us),
        *map(text_or_none, (key, payload, metadata)),
    )
    match kind:
        case "issue":
            return Ask(_decode_issue(call, *what))
        case "release":
            return _decode_release(call, *what)
        case "reserve":
            return Ask(_decode_reserve(call, *what))
        case "settle":
            number, token, how, voids, reason = what
            ended = whole(number), text(token), How(how), flag(voids), text(reason)
            return Ask(Settle(call, *ended))
        case _:
            raise Unreadable(f"{kind!r} is not handed over")


def _decode_issue(call: Call, quantity: Any, at_once: Any) -> Issue:
    if not whole(quantity) >= 1:
        raise Unreadable(f"an issue of {quantity!r}")
    return Issue(call, quantity, flag(at_once))


def _decode_reserve(call: Call, kept_s: Any, token: Any, *written: Any) -> Reserve:
    before, width, after, max_value = written
    if whole(kept_s) > RESERVATION_S_MAX or whole(width) > SEQ_WIDTH_MAX:
        raise Unreadable(f"numbers of {width} digits, kept for {kept_s} s")
    writing = Writing(text(before), width, text(after), whole(max_value))
    return Reserve(call, writing, kept_s, text(token))


def _decode_release(call: Call, number: Any, reason: Any, issued_in: Any, proof: Any) -> Ask:
    holder = None
    if proof is not None:
        of_number, read_at, held_in, of, trimmed, written = proof
        holds = None if of is None else _decode_origin(of)
        asked, at, issued = whole(of_number), whole(read_at), whole(held_in)
        holder = Holder(asked, at, issued, holds, whole(trimmed), text(written))
    return Ask(Release(call, whole(number), text(reason), whole(issued_in)), holder)


def encode_report(report: Report) -> bytes:
    """Return an outcome as it is sent: one line of JSON, then the bytes of head and entries."""
    (head,), entries = report.found
    line = orjson.dumps(
        {
            "h": [head.revision, len(head.value)],
            "e": [[int(kv.key[-20:]), len(kv.value)] for kv in entries],
            "x": [[position, *refused] for position, refused in report.refused],
            "u": report.unproven,
        }
    )
    return b"\n".join((line, head.value)) + b"".join(kv.value for kv in entries)


def decode_report(content: bytes, keys: CounterKeys) -> Report:
    """Return the outcome that was sent. Raises Unreadable when it is none."""
    try:
        line, _, rest = content.partition(b"\n")
        fields = orjson.loads(line)
        revision, length = fields["h"]
        if len(rest) != whole(length) + sum(whole(size) for _, size in fields["e"]):
            raise Unreadable(f"{len(rest)} bytes of head and entries")
        head, rest = KeyValue(keys.head, rest[:length], whole(revision)), rest[length:]
        entries: list[KeyValue] = []
        for index, size in fields["e"]:
            entries.append(KeyValue(keys.entry(whole(index)), rest[: whole(size)], 0))
            rest = rest[size:]
        refused = tuple(
            (whole(position), Refused(Why(why), text(subject)))
            for position, why, subject in fields["x"]
        )
        unproven = tuple((whole(at), tuple(map(whole, indexes))) for at, indexes in fields["u"])
        return Report(((head,), tuple(entries)), refused, unproven)
    except (KeyError, TypeError, ValueError) as broken:
        raise Unreadable(f"the outcome of a forwarded batch: {broken}") from broken
