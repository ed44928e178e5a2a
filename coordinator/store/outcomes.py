"""What an answer of etcd, or its absence, says about a transaction: one table, in one place.

The gateway reports gRPC's codes in ``code`` and a text in ``message``; the HTTP status differs by
version and says nothing more. Whatever is not known to mean *not committed* means *unknown*.
Sources: etcd ``api/v3rpc/rpctypes/error.go``, ``server/etcdserver/v3_server.go``.
"""

from enum import IntEnum
from typing import Any

import orjson

from coordinator.store import NotCommitted, Rejected, Unknown


class Code(IntEnum):
    """gRPC's codes that mean something here."""

    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    OUT_OF_RANGE = 11
    UNAUTHENTICATED = 16


FINAL = {Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.UNAUTHENTICATED}
"""Asking another member brings the same answer."""

NO_SPACE = (
    "etcd has no space left (NOSPACE). Free some: `etcdctl compact` to a recent revision, "
    "`etcdctl defrag` one member after the other, or raise --quota-backend-bytes; then "
    "`etcdctl alarm disarm`. Numbers flow again by themselves after that"
)

_NO_GATEWAY = {404, 405}
"""What a web server that is no gateway says of our path."""


def error_of(status: int, body: bytes) -> dict[str, Any]:
    """Return ``code`` and ``message`` of an error answer; code 0 when it is not the gateway's."""
    try:
        fields = orjson.loads(body)
        return {"code": int(fields["code"]), "message": str(fields["message"])}
    except (ValueError, KeyError, TypeError):
        text = body[:200].decode("utf-8", "replace").strip()
        return {"code": 0, "message": f"HTTP {status}: {text or 'no text'}"}


def outcome_of(status: int, body: bytes) -> Unknown:
    """Return Unknown, or raise NotCommitted or Rejected, for a transaction's error answer."""
    error = error_of(status, body)
    code, message = error["code"], error["message"]
    match code:
        case 0 if status in _NO_GATEWAY:
            raise NotCommitted(f"this is no etcd gateway: {message}")
        case Code.INVALID_ARGUMENT:  # too many operations, request too large, duplicate key
            raise Rejected(message)
        case Code.NOT_FOUND | Code.PERMISSION_DENIED | Code.UNAUTHENTICATED:  # never proposed
            raise NotCommitted(message)
        case Code.RESOURCE_EXHAUSTED if (
            "too many requests" in message
        ):  # refused before it was proposed
            raise NotCommitted(message)
        case Code.RESOURCE_EXHAUSTED if (
            "larger than max" in message
        ):  # gRPC's own limit, before etcd saw it
            raise Rejected(message)
        case Code.RESOURCE_EXHAUSTED if "space exceeded" in message:  # it may have applied
            return Unknown(NO_SPACE, needs_operator=True)
        case _:  # 1, 2, 4, 14 and whatever a later version invents
            return Unknown(message)
