"""The one codec between our shapes and etcd's JSON gateway.

There, integers are strings, zero values are left out (an absent ``succeeded`` means false), keys
and values are base64.
"""

from base64 import b64decode, b64encode
from typing import Any

import orjson

from coordinator.core.transaction import Delete, Guard, KeyValue, Put, Range, Transaction


def _text(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _range(wanted: Range, revision: int = 0) -> dict[str, Any]:
    fields: dict[str, Any] = {"key": _text(wanted.start)}
    if wanted.end:
        fields["range_end"] = _text(wanted.end)
    if wanted.limit:
        fields["limit"] = str(wanted.limit)
    if wanted.keys_only:
        fields["keys_only"] = True
    if revision:
        fields["revision"] = str(revision)
    return {"request_range": fields}


def _write(write: Put | Delete) -> dict[str, Any]:
    if isinstance(write, Put):
        put = {"key": _text(write.key), "value": _text(write.value)}
        return {"request_put": put | {"lease": str(write.lease)} if write.lease else put}
    start, end = _text(write.start), _text(write.end)
    return {"request_delete_range": {"key": start, "range_end": end}}


def transaction_body(transaction: Transaction) -> bytes:
    """Return the request of one guarded transaction."""
    return orjson.dumps(
        {
            "compare": [each for guard in transaction.guards for each in _compares(guard)],
            "success": [_write(write) for write in transaction.writes],
            "failure": [_range(wanted) for wanted in transaction.otherwise],
        }
    )


def _compares(guard: Guard) -> list[dict[str, str]]:
    key = {"key": _text(guard.key), "result": "EQUAL"}
    compares = [key | {"target": "MOD", "mod_revision": str(guard.revision)}]
    if guard.revision:
        compares.append(key | {"target": "VALUE", "value": _text(guard.value)})
    return compares


def read_body(ranges: tuple[Range, ...], revision: int) -> bytes:
    """Return the request of a read-only transaction: one consistent snapshot of all ranges."""
    return orjson.dumps({"success": [_range(wanted, revision) for wanted in ranges]})


def put_body(key: bytes, value: bytes, lease: int) -> bytes:
    """Return the request that writes one key under a lease; 0 is no lease."""
    return orjson.dumps({"key": _text(key), "value": _text(value), "lease": str(lease)})


def revision_of(answer: dict[str, Any]) -> int:
    """Return the store's revision after the request. Raises KeyError on a mutilated answer."""
    return int(answer["header"]["revision"])


def ranges_of(answer: dict[str, Any]) -> tuple[tuple[KeyValue, ...], ...]:
    """Return the ranges that a transaction has read, in the order they were asked for."""
    return tuple(
        tuple(
            KeyValue(b64decode(kv["key"]), b64decode(kv.get("value", "")), int(kv["mod_revision"]))
            for kv in response["response_range"].get("kvs", ())
        )
        for response in answer.get("responses", ())
    )
