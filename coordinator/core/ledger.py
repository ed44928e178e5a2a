"""The ledger: what was done, for whom, from where, in entries chained by their hash.

One entry is one committed batch. Its bytes in the store are its canonical form, and

    hash = SHA-256(hash of the previous entry, bytes of this entry)

so a change to any entry breaks every hash after it; the newest hash stands in the head.

Fields are short because they are written with every number:

    entry   v version  i index  p previous hash  t wall clock, ms  s next fresh number before it
            a parts, the first of the node that committed it  c origins  r records
    part    [node, instance, serial, answers, their total us, their peak us], answers since the last
            part of this run of the node; serials of a run ascend
    origin  [site, partition, invoice type, user, address, user agent]
    record  o operation  a its part (left out: 0)  c its origin  q correlation  w waited, us
            k key  d digest of the payload  m metadata; then
            issue: f first fresh number  n how many (left out: 1)
            g reused [[number, released in entry, released at ms, how many], ...], runs of
              numbers one after the other; how many is left out: 1
            x reserved [token, until ms, text]
            j by an operator [text, reason, the number that it replaces or 0]
            release: u number  e issued in entry  y reason
            settle: u number  e issued in entry  s how  x as reserved  y reason
            z 1 when it is void (left out: not)
            pass: f first number  n how many  y reason
            void: u number  e issued in entry  x text  y reason  b the number in its place, or 0
            import: f next fresh number before  n [[first, how many], ...]  h its name
            x [[lowest number of some rows, SHA-256 of their bytes], ...]
            close: y reason
            loss: e the entry that was lost  h its hash  y reason
            trim: e the newest entry trimmed  h its hash  f next fresh number after it
            x SHA-256 of the checkpoint

Single fresh numbers to one origin, one after the other, are most of all records. They share one,
``"o": "issues"``: f the first number, q and w lists with an element for each. A correlation that
the run of its part made up is written without the instance's name, after a space instead.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, TypeGuard

import orjson

from coordinator.core.records import (
    Cause,
    Closed,
    Entry,
    Given,
    Held,
    How,
    Imported,
    Issued,
    Latency,
    LossAccepted,
    Origin,
    Part,
    Passed,
    Record,
    Released,
    Restarted,
    Reused,
    Rows,
    Settled,
    Trimmed,
    Voided,
)
from coordinator.core.unreadable import (
    UnknownFormat,
    UnknownOperation,
    Unreadable,
    digest_of_entry,
    moment,
    text,
    text_or_none,
    whole,
)

FORMAT_VERSION = 2
NO_HASH = "0" * 64
"""The hash before the first entry."""


Operators = Passed | Voided | Imported | Closed

QUANTITY_MAX = 1_000_000
"""More numbers than any one record holds; an entry that says more is not ours."""


def chain(previous: str, content: bytes) -> str:
    """Return the hash of an entry from the hash before it and its canonical bytes."""
    return hashlib.sha256(bytes.fromhex(previous) + content).hexdigest()


def encode(entry: Entry) -> bytes:
    """Return the canonical bytes of an entry: compact JSON in UTF-8, fields in fixed order."""
    origins: dict[Origin, int] = {}
    blocks: list[dict[str, Any]] = []
    own = [f"{part.instance}-" for part in entry.parts]
    for record in entry.records:
        cause = record.cause
        correlation = cause.correlation
        if correlation.startswith(own[cause.part]):
            correlation = f" {correlation[len(own[cause.part]) :]}"
        origin = origins.setdefault(cause.origin, len(origins))
        if not _is_single(record):
            blocks.append(_encode_record(record, origin, correlation))
        elif blocks and _continues(blocks[-1], cause.part, origin, record.first):
            blocks[-1]["q"].append(correlation)
            blocks[-1]["w"].append(cause.waited_us)
        else:
            many = {"q": [correlation], "w": [cause.waited_us]}
            blocks.append({"o": "issues", "c": origin, "f": record.first, **many})
            if cause.part:
                blocks[-1]["a"] = cause.part
    return orjson.dumps(
        {
            "v": FORMAT_VERSION,
            "i": entry.index,
            "p": entry.previous,
            "t": entry.time_ms,
            "s": entry.next_before,
            "a": [[*part[:3], *part.latency] for part in entry.parts],
            "c": [list(origin) for origin in origins],
            "r": blocks,
        }
    )


def _is_single(record: Record) -> TypeGuard[Issued]:
    """Tell whether a record says no more than: this caller got the next fresh number."""
    if not isinstance(record, Issued) or record.fresh != 1 or record.reused:
        return False
    if record.held or record.given:
        return False
    return record.cause.key is None and record.cause.metadata is None


def _continues(block: dict[str, Any], part: int, origin: int, first: int) -> bool:
    if block["o"] != "issues" or block["c"] != origin or block.get("a", 0) != part:
        return False
    return bool(block["f"] + len(block["q"]) == first)


def _encode_record(record: Record, origin: int, correlation: str) -> dict[str, Any]:
    cause = record.cause
    fields: dict[str, Any] = {"o": "", "c": origin, "q": correlation, "w": cause.waited_us}
    if cause.part:
        fields["a"] = cause.part
    if cause.key is not None:
        fields["k"] = cause.key
        fields["d"] = cause.payload
    if cause.metadata is not None:
        fields["m"] = cause.metadata
    match record:
        case Issued():
            fields |= _encode_issued(record)
        case Settled(_, number, issued_in, how, held, reason, is_void):
            fields |= {"o": "settle", "u": number, "e": issued_in, "s": how, "x": list(held)}
            fields |= {"y": reason} | ({"z": 1} if is_void else {})
        case Released(_, number, issued_in, reason):
            fields["o"] = "release"
            fields["u"] = number
            fields["e"] = issued_in
            fields["y"] = reason
        case _:
            fields |= _encode_rare(record)
    return fields


def _encode_issued(record: Issued) -> dict[str, Any]:
    fields: dict[str, Any] = {"o": "issue", "f": record.first}
    if record.fresh != 1:
        fields["n"] = record.fresh
    if record.reused:
        fields["g"] = [run[: 4 if run.quantity > 1 else 3] for run in record.reused]
    if record.held:
        fields["x"] = list(record.held)
    if record.given:
        fields["j"] = list(record.given)
    return fields


def _encode_rare(record: Operators | Restarted | LossAccepted | Trimmed) -> dict[str, Any]:
    match record:
        case Restarted():
            return {"o": "restart"}
        case LossAccepted(_, lost, tip, reason):
            return {"o": "loss", "e": lost, "h": tip, "y": reason}
        case Trimmed(_, through, tip, following, checkpoint):
            return {"o": "trim", "e": through, "h": tip, "f": following, "x": checkpoint}
        case operators:
            return _encode_operators(operators)


def _encode_operators(record: Operators) -> dict[str, Any]:
    match record:
        case Passed(_, first, quantity, reason):
            return {"o": "pass", "f": first, "n": quantity, "y": reason}
        case Voided(_, number, issued_in, written, reason, replaced_by):
            fields = {"o": "void", "u": number, "e": issued_in, "x": written, "y": reason}
            return fields | {"b": replaced_by}
        case Imported(_, first, runs, source, rows):
            fields = {"o": "import", "f": first, "n": list(runs), "h": source}
            return fields | {"x": [list(some) for some in rows]}
        case Closed(_, reason):
            return {"o": "close", "y": reason}


def decode(content: bytes, run: str | None = None) -> Entry:
    """Return the entry that these bytes hold. Raises Unreadable when they hold none.

    With a run, single fresh numbers of other runs are left out: they change nothing but the head.
    """
    try:
        fields = orjson.loads(content)
        if fields["v"] != FORMAT_VERSION:
            raise UnknownFormat(f"ledger format {fields['v']}; known is {FORMAT_VERSION}")
        origins = [_decode_origin(origin) for origin in fields["c"]]
        parts = tuple(_decode_part(part) for part in fields["a"])
        if not parts:
            raise Unreadable("an entry of nobody")
        return Entry(
            index=whole(fields["i"]),
            previous=digest_of_entry(fields["p"]),
            time_ms=moment(fields["t"]),
            next_before=whole(fields["s"]),
            parts=parts,
            records=tuple(_decode_blocks(fields["r"], origins, parts, run)),
        )
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as broken:
        raise Unreadable(f"a ledger entry: {broken}") from broken


def _decode_origin(fields: list[Any]) -> Origin:
    site, partition, *others = fields
    return Origin(text(site), text(partition), *map(text_or_none, others))


def _decode_part(fields: list[Any]) -> Part:
    node, instance, serial, answers, total_us, peak_us = fields
    latency = Latency(whole(answers), whole(total_us), whole(peak_us))
    return Part(text(node), text(instance), whole(serial), latency)


def _decode_blocks(
    blocks: list[dict[str, Any]], origins: list[Origin], parts: tuple[Part, ...], run: str | None
) -> Iterator[Record]:
    for block in blocks:
        origin, part = origins[whole(block["c"])], whole(block.get("a", 0))
        instance = parts[part].instance
        own = instance + "-"
        if block["o"] == "issues":  # most records are in here: every call that is saved counts
            if run is not None and instance != run:
                continue
            number = whole(block["f"])
            for written, waited_us in zip(block["q"], block["w"], strict=True):
                correlation = own + written[1:] if text(written)[:1] == " " else written
                cause = Cause(origin, correlation, whole(waited_us), None, None, None, part)
                yield Issued(cause, number, 1)
                number += 1
        else:
            written = text(block["q"])
            correlation = own + written[1:] if written.startswith(" ") else written
            yield _decode_record(block, origin, correlation, part)


def _decode_record(fields: dict[str, Any], origin: Origin, correlation: str, part: int) -> Record:
    key, payload, metadata = (text_or_none(fields.get(name)) for name in "kdm")
    if metadata is not None:
        orjson.loads(metadata)  # readers rely on it
    cause = Cause(origin, correlation, whole(fields["w"]), key, payload, metadata, part)
    match fields["o"]:
        case "issue":
            gaps = fields.get("g", ())
            reused = tuple(_decode_run(*gap) for gap in gaps)
            fresh = whole(fields.get("n", 1))
            held = _decode_held(*fields["x"]) if "x" in fields else None
            given = _decode_given(*fields["j"]) if "j" in fields else None
            issued = Issued(cause, whole(fields["f"]), fresh, reused, held, given)
            if issued.quantity > (QUANTITY_MAX if held is None and given is None else 1):
                raise Unreadable(f"{issued.quantity} numbers in one record")
            return issued
        case "release":
            number, issued_in = whole(fields["u"]), whole(fields["e"])
            return Released(cause, number, issued_in, text(fields["y"]))
        case "settle":
            number, issued_in = whole(fields["u"]), whole(fields["e"])
            how, held = How(text(fields["s"])), _decode_held(*fields["x"])
            is_void = bool(whole(fields.get("z", 0)))
            if is_void and how is How.CONFIRMED:
                raise Unreadable(f"number {number} is confirmed and void")
            return Settled(cause, number, issued_in, how, held, text(fields["y"]), is_void)
        case _:
            return _decode_rare(fields, cause)


def _decode_rare(fields: dict[str, Any], cause: Cause) -> Record:
    match fields["o"]:
        case "restart":
            return Restarted(cause)
        case "loss":
            lost, tip = whole(fields["e"]), digest_of_entry(fields["h"])
            return LossAccepted(cause, lost, tip, text(fields["y"]))
        case "trim":
            through, tip = whole(fields["e"]), digest_of_entry(fields["h"])
            checkpoint = digest_of_entry(fields["x"])
            return Trimmed(cause, through, tip, whole(fields["f"]), checkpoint)
        case _:
            return _decode_operators(fields, cause)


def _decode_operators(fields: dict[str, Any], cause: Cause) -> Operators:
    match fields["o"]:
        case "pass":
            return Passed(cause, whole(fields["f"]), _some(fields["n"]), text(fields["y"]))
        case "void":
            number, issued_in, replaced_by = (whole(fields[name]) for name in "ueb")
            written, reason = text(fields["x"]), text(fields["y"])
            return Voided(cause, number, issued_in, written, reason, replaced_by)
        case "import":
            first, source = whole(fields["f"]), text(fields["h"])
            runs = tuple((whole(number), _some(quantity)) for number, quantity in fields["n"])
            rows = tuple(Rows(whole(number), digest_of_entry(sha)) for number, sha in fields["x"])
            _check_ascending(first, runs)
            return Imported(cause, first, runs, source, rows)
        case "close":
            return Closed(cause, text(fields["y"]))
        case other:
            raise UnknownOperation(f"unknown operation {other!r}")


def _decode_held(token: object, until_ms: object, written: object) -> Held:
    return Held(text(token), moment(until_ms), text(written))


def _decode_given(written: object, reason: object, replaces: object) -> Given:
    return Given(text(written), text(reason), whole(replaces))


def _some(quantity: object) -> int:
    if whole(quantity) < 1:
        raise Unreadable(f"{quantity!r} numbers")
    return whole(quantity)


def _check_ascending(first: int, runs: tuple[tuple[int, int], ...]) -> None:
    if not runs:
        raise Unreadable("an import of nothing")
    for start, quantity in runs:
        if start < first:
            raise Unreadable(f"an import of {start}, where {first} is next")
        first = start + quantity


def _decode_run(first: int, released_in: int, released_ms: int, quantity: int = 1) -> Reused:
    run = Reused(whole(first), whole(released_in), moment(released_ms), whole(quantity))
    if not quantity:
        raise Unreadable(f"a run of no numbers from {first} on")
    return run
