"""What commands share: their shape, exit codes, and how they ask a node or etcd."""

import argparse
import http.client
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
from pydantic import BaseModel, Field, ValidationError, model_validator

from coordinator.core.documents import INVOICE, is_of_documents
from coordinator.core.keys import Keys
from coordinator.core.series import Strategy, counter_names
from coordinator.core.transaction import Range
from coordinator.store import Store
from coordinator.store.etcd import EtcdStore
from coordinator.store.wire import Wire

OK, BROKEN, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
READ_S = 10.0
"""One member may take this long to answer: nobody waits at a counter for a tool."""

NODE_URL = "http://127.0.0.1:8080"
ROOT = "/sequence/"


class Command(NamedTuple):
    """One command. The first of its ``examples`` stands in the help of the whole."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[dict[str, Any]], int]
    examples: tuple[str, ...]
    description: str = ""


class Installation(NamedTuple):
    """What etcd says of an installation: its counters, and the first number of the invoices."""

    counters: tuple[str, ...]
    start: int | None

    def start_of(self, counter: str) -> int | None:
        """Return the first number of a counter; None: its own entries say it.

        A counter of documents begins where its series began when it was made.
        """
        return None if is_of_documents(counter) else self.start


def say(text: str) -> None:
    """Tell the person, beside the output."""
    print(f"coordinator: {text}", file=sys.stderr, flush=True)


def say_invalid(invalid: ValidationError) -> None:
    """Tell what is wrong with the arguments, a line each."""
    for error in invalid.errors():
        name = "-".join(str(part) for part in error["loc"]).replace("_", "-")
        where = f"--{name}: " if name else ""
        say(f"{where}{error['msg']}")


def etcd_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how to reach an installation in etcd."""
    parser.add_argument(
        "--etcd-endpoints", metavar="URL,...", help="read straight from these etcd members"
    )
    parser.add_argument(
        "--root", default=ROOT, help="prefix of all keys in etcd (default: %(default)s)"
    )


def connect(given: dict[str, Any]) -> tuple[Store, Keys]:
    """Return the store and keys that the arguments name. Raises ValidationError."""
    chosen = _Etcd(etcd_endpoints=given["etcd_endpoints"], root=given["root"])
    return EtcdStore(chosen.members, read_s=READ_S), Keys(chosen.root.encode())


class _Etcd(BaseModel):
    """Where an installation is; nothing else of a node's settings matters to a tool."""

    etcd_endpoints: str = Field(pattern=r"^\s*https?://[^/\s,]+/?(\s*,\s*https?://[^/\s,]+/?)*\s*$")
    root: str = Field(pattern=r"^/.*/$")

    @property
    def members(self) -> tuple[str, ...]:
        """Return the addresses one by one."""
        return tuple(part.strip() for part in self.etcd_endpoints.split(",") if part.strip())

    @model_validator(mode="after")
    def _can_be_reached(self) -> "_Etcd":
        for url in self.members:
            Wire(url)  # raises ValueError for what is no address
        return self


async def installation(store: Store, keys: Keys) -> Installation:
    """Return what counters there are: those with keys, and those that the settings name.

    Raises StoreError.
    """
    found: dict[str, None] = {}
    wanted = keys.counters._replace(limit=1)
    while page := (await store.read(wanted)).found[0]:
        found[keys.counter_of(page[0].key)] = None
        wanted = wanted._replace(start=keys.after_counter_of(page[0].key))
    (settings,) = (await store.read(Range(keys.settings))).found
    start = None
    if settings:
        start, named = _from_settings(settings[0].value)
        found |= dict.fromkeys(named)
    return Installation(tuple(sorted(found)), start)


async def invoices_from(store: Store, keys: Keys) -> int | None:
    """Return the first number of the counter that all invoices share; None without such a one.

    Raises StoreError.
    """
    (settings,) = (await store.read(Range(keys.settings))).found
    start, named = _from_settings(settings[0].value) if settings else (None, ())
    return start if INVOICE in named else None


def _from_settings(content: bytes) -> tuple[int | None, tuple[str, ...]]:
    """Return the first number and the counters by the settings that all nodes share."""
    try:
        fields = orjson.loads(content)
        start = int(fields["first_number"])
        strategy = Strategy(fields["strategy"])
        places = (tuple(map(str, fields.get(name, ("",)))) for name in ("sites", "partitions"))
        return start, counter_names(str(fields["series"]), strategy, *places)
    except (ValueError, KeyError, TypeError):
        say("the settings of the installation cannot be read; its counters are taken as found")
        return None, ()


def ask_node(url: str, path: str, body: object = None, timeout_s: float = 30) -> Any:
    """Return a node's answer (to a POST, with a body); None, once told, when there is none."""
    address = f"{url.rstrip('/')}/api/v1/{path}"
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    try:
        request = urllib.request.Request(address, content, headers)  # noqa: S310 - as named
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as refused:
        try:
            detail = json.load(refused).get("detail", refused.reason)
        except (OSError, ValueError, AttributeError):
            detail = refused.reason
        say(f"{address}: {detail}")
    except (OSError, ValueError, http.client.HTTPException) as failed:
        say(f"{address}: {failed}. Is a node running there?")
    return None
