"""The file in which a ledger is handed to an auditor: JSON lines in UTF-8, in this order.

1.  The first line says what the file is::

        {"format": "sequence ledger", "version": 2, "counter": "invoice", "root": "/sequence/",
         "start": 1, "entries": 1234, "revision": 5678, "time_ms": 1700000000000}

    ``start`` is the first number of the series, ``entries`` the index of the newest entry (0: the
    head cannot tell), ``revision`` etcd's at which all but the entries was read, ``time_ms`` the
    wall clock of the export.

    Of a ledger whose oldest entries were trimmed, the checkpoint follows, as under 3: the head as
    it was after the newest one of them; its ``tip`` is the hash of that entry.

2.  Each ledger entry, from entry 1 or the one after the checkpoint on, as exactly the bytes that
    etcd holds. With the hash of the entry before (64 zeros before entry 1)::

        hash = SHA-256(bytes of the previous hash, bytes of this line without its line end)

    Where an entry has imported numbers (a record with ``"o": "import"``), the rows of that file
    follow it, as they stand beside the ledger, outside the counter's keys: first those at 0 of its
    source ``h``, whose SHA-256 is the first in ``x``, and so on::

        {"key_in_root": "imports/rows/<h>/00000000000000000000", "text": ...}

    (Files of version 1 have no such lines, and are the same otherwise.)

    The fields of an entry are listed in ``coordinator.core.ledger``. Fresh numbers of an entry go
    from ``s`` up; those of a record from ``f``, as many as ``n`` says (1 without it) or, for
    ``"o": "issues"``, as ``q`` has elements.

3.  Each key beside the entries, without its prefix: ``{"key": "head", "text": ...}``, or with
    ``"base64"`` in place of ``"text"`` where the value is no text. ``tip`` in the head is the hash
    of the newest entry. (A damaged entry that no line can hold stands in such a line, in the
    place of the entry.)

4.  The last line, ``{"end": {"entries": 1234, "keys": 56, "tip": ...}}``: how many lines of each
    kind came before, and the hash of the newest entry by the head (null without one). A file
    without it was not written to its end.
"""

from base64 import b64decode, b64encode
from typing import Any, NamedTuple

import orjson

from coordinator.core.keys import CounterKeys
from coordinator.core.transaction import KeyValue
from coordinator.core.unreadable import Unreadable, moment, text, text_or_none, whole

FORMAT = "sequence ledger"
VERSION = 2
VERSIONS_READ = (1, VERSION)
WITH_ROWS = 2
"""The first version in which the rows of imports stand."""

LINE_BYTES_MAX = 4_000_000
"""Longer than any line is: a value in etcd has 1.5 MiB at most, and base64 a third more."""

TEXT_BYTES_MAX = 600_000
"""Longer values are written in base64: as text, a control character takes six bytes."""

_ENTRY_BEGINS = b'{"v":'


class About(NamedTuple):
    """The first line."""

    counter: str
    root: str
    start: int
    entries: int
    revision: int
    time_ms: int
    version: int = VERSION

    @property
    def has_rows(self) -> bool:
        """Tell whether the rows of imports stand in the file."""
        return self.version >= WITH_ROWS


class End(NamedTuple):
    """The last line."""

    entries: int
    keys: int
    tip: str | None


def first_line(about: About) -> bytes:
    """Return the line that says what the file is."""
    return orjson.dumps({"format": FORMAT, "version": about.version} | about._asdict()) + b"\n"


def last_line(end: End) -> bytes:
    """Return the line that closes the file."""
    return orjson.dumps({"end": end._asdict()}) + b"\n"


def line_of(keys: CounterKeys, kv: KeyValue) -> bytes:
    """Return the line of one key: an entry as its own bytes, others named."""
    if _is_plain_entry(keys, kv):
        return kv.value + b"\n"
    root, name = keys.installation.root, kv.key.removeprefix(keys.prefix)
    if name == kv.key and name.startswith(root):
        there = {"key_in_root": name.removeprefix(root).decode()}
        return orjson.dumps(there | _named("text", kv.value)) + b"\n"
    return orjson.dumps(_named("key", name) | _named("text", kv.value)) + b"\n"


def is_entry(line: bytes) -> bool:
    """Tell whether a line is a ledger entry's own bytes."""
    return line.startswith(_ENTRY_BEGINS)


def _is_plain_entry(keys: CounterKeys, kv: KeyValue) -> bool:
    if not is_entry(kv.value) or b"\n" in kv.value or b"\r" in kv.value:
        return False
    try:
        return kv.key == keys.entry(whole(orjson.loads(kv.value)["i"]))
    except (ValueError, KeyError, TypeError):
        return False


def _named(name: str, value: bytes) -> dict[str, str]:
    try:
        if len(value) > TEXT_BYTES_MAX:
            raise ValueError("too long for text")
        return {name: value.decode()}
    except ValueError:
        other = "key_base64" if name == "key" else "base64"
        return {other: b64encode(value).decode()}


def read_first_line(line: bytes) -> About:
    """Return what the file is. Raises Unreadable."""
    try:
        fields = orjson.loads(line)
        if fields["format"] != FORMAT or fields["version"] not in VERSIONS_READ:
            raise Unreadable(f"format {fields['format']!r}, version {fields['version']!r}")
        return About(
            counter=text(fields["counter"]),
            root=text(fields["root"]),
            start=whole(fields["start"]),
            entries=whole(fields["entries"]),
            revision=whole(fields["revision"]),
            time_ms=moment(fields["time_ms"]),
            version=whole(fields["version"]),
        )
    except (ValueError, KeyError, TypeError) as broken:
        raise Unreadable("the first line is not that of an exported ledger") from broken


def read_line(keys: CounterKeys, line: bytes) -> KeyValue | End:
    """Return what a line after the first holds. Raises Unreadable."""
    try:
        fields = orjson.loads(line)
        if is_entry(line):
            return KeyValue(keys.entry(whole(fields["i"])), line, 0)
        if "end" in fields:
            return _end(fields["end"])
        if "key_in_root" in fields:
            key = keys.installation.root + text(fields["key_in_root"]).encode()
            return KeyValue(key, _value(fields, "text", "base64"), 0)
        key = _value(fields, "key", "key_base64")
        return KeyValue(keys.prefix + key, _value(fields, "text", "base64"), 0)
    except (ValueError, KeyError, TypeError) as broken:
        raise Unreadable(f"{line[:80]!r} is no line of an exported ledger") from broken


def _end(fields: dict[str, Any]) -> End:
    return End(whole(fields["entries"]), whole(fields["keys"]), text_or_none(fields["tip"]))


def _value(fields: dict[str, Any], plain: str, encoded: str) -> bytes:
    if plain in fields:
        return text(fields[plain]).encode()
    return b64decode(text(fields[encoded]), validate=True)
