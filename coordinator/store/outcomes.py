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

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    OUT_OF_RANGE = 11
    UNAUTHENTICATED = 16


FINAL = {Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.UNAUTHENTICATED}
"""Asking another member brings the same answer."""

_NO_GATEWAY = {404, 405}
"""What a web server that is no gateway says of our path."""


_TOO_MANY = "etcdserver: too many requests"
"""Refused before it is proposed. Meant to have code 8; 3.4.23 sends it with code 2."""

_NO_LOGIN = "user name is empty"
"""How members with authentication answer a request without a login; oddly, with code 3."""

_NO_SPACE = "database space exceeded"
"""It may have been applied nevertheless: the one that went over the quota is."""

_LOGIN_ADVICE = (
    "; these members want a login and the coordinator has none: guard them by network and "
    "firewall instead, and switch it off with `etcdctl auth disable`"
)
_ADVICE = {
    _NO_LOGIN: _LOGIN_ADVICE,
    "invalid auth token": _LOGIN_ADVICE,
    "permission denied": _LOGIN_ADVICE,
    _NO_SPACE: (
        ". Make room: `etcdctl compact` to a recent revision and `etcdctl defrag` one member after "
        "the other, or give them a larger --quota-backend-bytes; then `etcdctl alarm disarm`. "
        "Numbers flow again by themselves after that"
    ),
}
"""What an operator can do about an answer that does not go away by itself."""


def error_of(status: int, body: bytes) -> dict[str, Any]:
    """Return ``code`` and ``message`` of an error answer; code 0 when it is not the gateway's."""
    try:
        fields = orjson.loads(body)
        code, message = int(fields["code"]), str(fields["message"])
    except (ValueError, KeyError, TypeError):
        text = body[:200].decode("utf-8", "replace").strip()
        return {"code": 0, "message": f"HTTP {status}: {text or 'no text'}"}
    advice = next((advice for said, advice in _ADVICE.items() if said in message), "")
    return {"code": code, "message": message + advice}


def outcome_of(status: int, body: bytes) -> Unknown:
    """Return Unknown, or raise NotCommitted or Rejected, for a transaction's error answer."""
    error = error_of(status, body)
    code, message = error["code"], error["message"]
    match code:
        case 0 if status in _NO_GATEWAY:
            raise NotCommitted(f"this is no etcd gateway: {message}")
        case Code.INVALID_ARGUMENT if _NO_LOGIN in message:  # it would be taken with a login
            raise NotCommitted(message)
        case Code.INVALID_ARGUMENT:  # too many operations, request too large, duplicate key
            raise Rejected(message)
        case Code.NOT_FOUND | Code.PERMISSION_DENIED | Code.UNAUTHENTICATED:  # never proposed
            raise NotCommitted(message)
        case Code.UNKNOWN | Code.RESOURCE_EXHAUSTED if _TOO_MANY in message:  # never proposed
            raise NotCommitted(message)
        case Code.RESOURCE_EXHAUSTED if (
            "larger than max" in message
        ):  # gRPC's own limit, before etcd saw it
            raise Rejected(message)
        case Code.RESOURCE_EXHAUSTED if _NO_SPACE in message:
            return Unknown(message, needs_operator=True)
        case _:  # 1, 2, 4, 14 and whatever a later version invents
            return Unknown(message)
