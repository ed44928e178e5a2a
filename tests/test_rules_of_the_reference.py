"""The do's and don'ts of the older system's guide (its section 14), each as a test over HTTP.

Held elsewhere: that it works on when a part of the store fails, and that waits between attempts
grow (`test_chaos.py`, `test_unknown_outcomes.py`, `test_trouble.py`); a thousand requests at the
same time (`test_reservations_api.py`, `test_acceptance.py`); what takes the place of a pessimistic
lock, one compare for each commit (`test_core_properties.py`, `test_simulation.py`); how much of a
series is used up (`test_sequences_api.py`), and that nine tenths stand out
(`test_dashboard_documents.py`). Load tests before a deployment are `scripts/bench.py`.
"""

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from document_calls import (
    ADMIN,
    COUNTER,
    DOCUMENTS,
    LAST_YEAR,
    MEM,
    WHY,
    Two,
    adjust,
    ask,
    close,
    define,
    issue,
    name,
    proven,
    refused,
    reserve,
    text,
    told,
    two_nodes,
    void,
)
from etcd_members import held, running_members
from http_calls import Start
from test_documents_api import TEMPLATES, call

from coordinator.core.keys import CounterKeys, Keys, number_in
from coordinator.core.ledger import decode
from coordinator.core.records import (
    Cause,
    Closed,
    Entry,
    Issued,
    Passed,
    Settled,
    Voided,
    next_after,
)

RESERVE = {"document_type": "MEM", "issue_date": LAST_YEAR}


@pytest.fixture
async def site(start_node: Start, etcd: str) -> AsyncIterator[Two]:
    """Two nodes that know the series MEM; in the end every ledger must be proven."""
    async with two_nodes(start_node, etcd) as two:
        yield two


def keys_of(root: str) -> CounterKeys:
    """Return the keys of the counter of memoranda."""
    return Keys(root.encode()).counter(COUNTER)


def entries_of(site: Two) -> dict[int, tuple[Entry, int]]:
    """Return the ledger's entries with the revision of etcd that wrote each."""
    found = held(site.etcd, keys_of(site.root).all_entries)
    return {number_in(key): (decode(kv.value), kv.revision) for key, kv in found.items()}


async def test_do_use_two_phases_a_number_is_nobodys_before_it_is_confirmed(site: Two) -> None:
    reserved = await reserve(site.one)
    number = reserved["document_number"]
    assert "is reserved" in (await name(site.other, 1, 409))["detail"]
    assert (await void(site.other, number, 409))["code"] == "NB032"
    await told(site.other, "confirm", {"token": reserved["token"]})
    assert "is issued" in (await name(site.one, 1, 409))["detail"]
    cancelled = await reserve(site.one)
    await told(site.other, "cancel", {"token": cancelled["token"]})
    problem = await refused(site.one, "confirm", {"token": cancelled["token"]}, 409)
    assert problem["code"] == "NB004"


async def test_do_log_every_operation(site: Two) -> None:
    headers = {"X_User": "ann", "X_Request_Id": "r-1", "User_Agent": "books/7"}

    async def done(path: str, body: dict[str, Any], status: int = 200) -> Any:
        return (await ask(site.one, path, body, status, **headers))[0].get("data")

    first = await done("reserve", RESERVE, 201)
    await done("confirm", {"token": first["token"]})
    second = await done("reserve", RESERVE, 201)
    await done("cancel", {"token": second["token"], "reason": "a slip"})
    named = {"document_type": "MEM", "document_number": text(5), "reason": WHY}
    await done("manual-override", named, 201)
    await done("void-and-replace", {"document_number": text(1), "reason": WHY})
    await done("sequences/adjust", RESERVE | {"next_value": 9, "reason": WHY})
    await done("sequences/close", RESERVE | {"reason": WHY})
    logged = [r for _, (e, _) in sorted(entries_of(site).items()) for r in e.records]
    assert [type(record) for record in logged] == [
        *(Issued, Settled, Issued, Settled),
        *(Passed, Issued),
        *(Issued, Voided),
        *(Passed, Closed),
    ]
    for record in logged:
        cause: Cause = record.cause
        assert cause.correlation == "r-1"
        assert cause.origin == ("", "", "MEM", "ann", "127.0.0.1", "books/7")


async def test_do_keep_reservations_for_five_minutes(site: Two) -> None:
    for kind in ("MEM", "COR"):
        reserved = await reserve(site.one, document_type=kind)
        left = datetime.fromisoformat(reserved["expires_at"]) - datetime.now(UTC)
        assert 290 < left.total_seconds() <= 300


@pytest.mark.parametrize("skip", [True, False])
async def test_do_validate_the_format_of_a_manual_override_and_dont_skip_it(
    site: Two,
    skip: bool,  # noqa: FBT001
) -> None:
    wrong = (
        "MEM-2025-7",
        "MEM-25-00007",
        "mem-2025-00007",
        "MEM-2025-00007 ",
        "MEM-2025-0000\uff17",
    )
    for number in (*wrong, text(7, "COR"), "00007", "MEM-2025-00000"):
        body = {"document_type": "MEM", "document_number": number, "reason": WHY}
        asked = body | {"skip_validation": skip}
        assert (await refused(site.one, "manual-override", asked, 422))["code"] == "NB006", number
    await issue(site.one)
    assert (await name(site.one, 1, 409, skip_validation=skip))["code"] == "NB005"
    assert (await name(site.one, 2, skip_validation=skip))["validated"] is True


async def test_do_skip_cancelled_numbers_and_never_reuse_them(site: Two) -> None:
    tokens = [(await reserve(site.one))["token"] for _ in range(4)]
    await told(site.other, "cancel", {"token": tokens[3]})
    await told(site.other, "cancel", {"token": tokens[1]})
    await told(site.one, "confirm", {"token": tokens[0]})
    await void(site.one, text(1), replace=False)
    assert [await issue(node) for node in site[:2]] == [text(5), text(6)]
    for number in (1, 2, 4):
        assert "is void" in (await name(site.one, number, 409))["detail"]


async def test_dont_trust_numbers_that_clients_make_up(site: Two) -> None:
    for path, more in (("reserve", RESERVE), ("confirm", {"token": "t"})):
        for field in ("document_number", "number", "sequence"):
            await refused(site.one, path, more | {field: text(77)}, 400)
    mine, theirs = await reserve(site.one), await reserve(site.one)
    counter, number, secret = json.loads(base64.urlsafe_b64decode(mine["token"] + "==="))
    for forged in ((counter, number + 1, secret), (counter, 77, secret), (counter, number, "x")):
        token = base64.urlsafe_b64encode(json.dumps(forged).encode()).decode().rstrip("=")
        for path in ("confirm", "cancel"):
            assert (await refused(site.other, path, {"token": token}, 409))["code"] == "NB004"
    for reserved in (mine, theirs):
        await told(site.other, "confirm", {"token": reserved["token"]})


async def test_dont_increase_a_sequence_without_a_transaction_nor_skip_the_audit(
    site: Two,
) -> None:
    await asyncio.gather(*(issue(site[n % 2]) for n in range(20)))
    await name(site.one, 25)
    await adjust(site.other, next_value=30)
    await void(site.one, text(3))
    await close(site.other)
    entries = entries_of(site)
    (head,) = held(site.etcd, keys_of(site.root).head).values()
    # As often as the head was written, an entry was; the last time by the same transaction.
    assert (head.times, head.revision) == (len(entries), entries[len(entries)][1])
    following = 1
    for index in sorted(entries):
        assert entries[index][0].next_before == following
        following = next_after(entries[index][0])
    assert all(kv.times == 1 for kv in held(site.etcd, keys_of(site.root).all_entries).values())
    before = held(site.etcd, keys_of(site.root).prefix)
    await refused(site.one, "reserve", RESERVE, 409)
    await name(site.one, 99, 409)
    await void(site.other, text(3), 409)
    after = held(site.etcd, keys_of(site.root).prefix)
    assert {key: kv.value for key, kv in after.items()} == {k: kv.value for k, kv in before.items()}


async def test_dont_ignore_lock_failures_nor_assume_that_the_store_is_there(
    start_node: Start, tmp_path: Path
) -> None:
    with running_members(tmp_path, count=1) as (member,):
        node = await start_node(etcd_endpoints=member.url, root="/rules/", deadline_s=1.0)
        await define(node)
        await issue(node)
        keyed = {"document_type": "MEM", "document_number": text(2), "reason": WHY}
        keyed |= {"requestId": "one"}
        waiting = (RESERVE, f"{DOCUMENTS}/reserve"), (keyed, f"{ADMIN}/manual-override")
        member.pause()
        for body, path in waiting:
            async with node.post(path, json=body) as answer:
                problem = await answer.json()
            assert (answer.status, problem["code"]) in {
                (503, "NB003"), (503, "NB008"), (504, "NB014")
            }  # fmt: skip
            assert problem["retryable"] is True
            assert "Retry-After" in answer.headers
        member.resume()
        member.ask("maintenance/status")
        for _ in range(20):
            async with node.post(waiting[1][1], json=keyed) as answer:
                status = answer.status
            if status not in {503, 504}:
                break
        assert status in {201, 409}  # 409: the reservation that had no answer came true, and has it
        assert await proven(member.url, "/rules/") == 2


async def test_dont_extend_a_series_without_saying_why(site: Two) -> None:
    rest = {field: value for field, value in MEM.items() if field != "document_type"}
    larger = rest | {"max_value": 10**7, "version": 1}
    for field in ("reason", "version"):
        body = {each: value for each, value in larger.items() if each != field}
        problem, _ = await call(site.one, "PUT", f"{TEMPLATES}/MEM", body, 400)
        assert [error["field"] for error in problem["errors"]] == [field]
    await call(site.one, "PUT", f"{TEMPLATES}/MEM", larger, X_User="ann")
    told_of, _ = await call(site.other, "GET", f"{TEMPLATES}/MEM")
    assert (told_of["data"]["changes"][0]["user"], told_of["data"]["template"]["max_value"]) == (
        *("ann", 10**7),
    )


@pytest.mark.parametrize("key", ["head", "void", "entry"])
async def test_dont_modify_what_is_stored_it_is_found(
    start_node: Start, etcd: str, key: str
) -> None:
    root = f"/test-{uuid.uuid4().hex[:8]}/"
    node = await start_node(root=root)
    await define(node)
    await issue(node)
    await name(node, 4)
    keys = keys_of(root)
    where, what, other = {
        "head": (keys.head, b'"next":5', b'"next":9'),
        "void": (keys.void(3), b"[2,2]", b"[2,1]"),
        "entry": (keys.entry(1), b"MEM-2025-00001", b"MEM-2025-00002"),
    }[key]
    assert await proven(etcd, root) == 2
    (found,) = held(etcd, where).values()
    assert what in found.value
    written = base64.b64encode(found.value.replace(what, other)).decode()
    put = {"key": base64.b64encode(where).decode(), "value": written}
    async with node.session.post(f"{etcd}/v3/kv/put", json=put) as answer:
        assert answer.status == 200
    with pytest.raises(AssertionError):
        await proven(etcd, root)
