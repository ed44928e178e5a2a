"""Hand-made corruption of a ledger: each is found by its own name, where it is, and only once.

``edit`` alters bytes and nothing else. ``forge`` is by somebody who knows the format: the chain and
the head are computed anew, so that only the numbers themselves can tell.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from books import HISTORY, KEYS, RESET, A, B, Book, book, call
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core import ledger
from coordinator.core.breaks import ADVICE, FINDINGS_MAX
from coordinator.core.keys import DIGITS
from coordinator.core.links import Lost
from coordinator.core.marks import Mark, encode_digests, encode_mark
from coordinator.core.request_keys import digest
from coordinator.core.requests import Issue, Release
from coordinator.core.verify import Break

LAST = len(HISTORY)
FORGED_NAME = ('["node"', '["nodf"')
Tamper = Callable[[Book], Any]


def reorder(tampered: Book, order: list[int]) -> None:
    """Put these entries under the keys 1, 2, 3, ..."""
    tampered.entries = {place: tampered.entries[i] for place, i in enumerate(order, 1)}


def previous(tampered: Book, index: int) -> None:
    fields = orjson.loads(tampered.entries[index])
    tampered.entries[index] = orjson.dumps(fields | {"p": "ab" * 32})


def all_but(*without: int) -> list[int]:
    return [index for index in range(1, LAST + 1) if index not in without]


BYTES: list[tuple[str, Tamper, list[tuple[Break, int, int | None]]]] = [
    ("a space", lambda b: b.edit(5, ',"t"', ', "t"'), [(Break.NOT_CANONICAL, 5, None)]),
    ("a space at the end", lambda b: b.edit(LAST, "]}", "]} "),
     [(Break.NOT_CANONICAL, LAST, None)]),
    ("a new field", lambda b: b.edit(5, '"v":2', '"v":2,"x":1'), [(Break.NOT_CANONICAL, 5, None)]),
    ("a field, first", lambda b: b.edit(1, *FORGED_NAME), [(Break.CHAIN, 1, None)]),
    ("a field, middle", lambda b: b.edit(6, *FORGED_NAME), [(Break.CHAIN, 6, None)]),
    ("a field, last", lambda b: b.edit(LAST, *FORGED_NAME), [(Break.HEAD, LAST, None)]),
    ("a site", lambda b: b.edit(7, "partition-b", "partition-c"),
     [(Break.CHAIN, 7, None), (Break.OTHER_HOLDER, 7, 7)]),
    ("a fresh number", lambda b: b.edit(2, '"f":8', '"f":9'),
     [(Break.CHAIN, 2, None), (Break.SKIPPED, 2, 8)]),
    ("a reused number", lambda b: b.edit(6, "[[4,", "[[3,"),
     [(Break.CHAIN, 6, None), (Break.DUPLICATE, 6, 3)]),
    ("a released number", lambda b: b.edit(4, '"u":4', '"u":5'), [(Break.CHAIN, 4, None)]),
    ("previous hash, first", lambda b: previous(b, 1), [(Break.CHAIN, 1, None)]),
    ("previous hash, middle", lambda b: previous(b, 5), [(Break.CHAIN, 5, None)]),
    ("previous hash, last", lambda b: previous(b, LAST), [(Break.CHAIN, LAST, None)]),
    ("its own index", lambda b: b.edit(6, '"i":6', '"i":16'), [(Break.WRONG_PLACE, 6, None)]),
    ("no JSON", lambda b: b.edit(6, "{", "["), [(Break.UNREADABLE, 6, None)]),
    ("a negative time", lambda b: b.edit(6, '"t":6000', '"t":-1'), [(Break.UNREADABLE, 6, None)]),
    ("a time beyond all years", lambda b: b.edit(6, '"t":6000', '"t":9999999999999999'),
     [(Break.UNREADABLE, 6, None)]),
    ("a later format", lambda b: b.edit(6, '"v":2', '"v":3'), [(Break.UNKNOWN_FORMAT, 6, None)]),
    ("an unknown operation", lambda b: b.edit(6, '"issue"', '"steal"'),
     [(Break.UNKNOWN_OPERATION, 6, None)]),
    ("first removed", lambda b: b.entries.pop(1), [(Break.MISSING_ENTRY, 1, None)]),
    ("middle removed", lambda b: b.entries.pop(6), [(Break.MISSING_ENTRY, 6, None)]),
    ("last removed", lambda b: b.entries.pop(LAST), [(Break.MISSING_ENTRY, LAST, None)]),
    ("two removed", lambda b: (b.entries.pop(6), b.entries.pop(7)),
     [(Break.MISSING_ENTRY, 6, None)]),
    ("all removed", lambda b: b.entries.clear(), [(Break.MISSING_ENTRY, 1, None)]),
    ("removed, the rest moved up", lambda b: reorder(b, all_but(6)),
     [(Break.WRONG_PLACE, 6, None)]),
    ("swapped", lambda b: reorder(b, [1, 2, 3, 4, 6, 5, *range(7, LAST + 1)]),
     [(Break.WRONG_PLACE, 5, None), (Break.WRONG_PLACE, 6, None)]),
    ("inserted", lambda b: reorder(b, [1, 2, 3, 4, 4, *range(5, LAST + 1)]),
     [(Break.WRONG_PLACE, 5, None)]),
    ("chain rewritten, head not", lambda b: b.forge(6, '"w":6', '"w":7', also_head=False),
     [(Break.HEAD, LAST, None)]),
]  # fmt: skip


@pytest.mark.parametrize(("tamper", "expected"), [c[1:] for c in BYTES], ids=[c[0] for c in BYTES])
def test_altered_bytes_are_found_once_where_they_are(tamper: Tamper, expected: list[Any]) -> None:
    tampered = book()
    tamper(tampered)
    assert tampered.seen() == expected


def forge_reuse(tampered: Book) -> None:
    """Let entry 6 issue 5, which is held, and let 4 wait: with all keys beside as if it were so."""
    tampered.forge(6, "[[4,", "[[5,")
    tampered.beside[KEYS.reuse(6)] = b"[5]"
    tampered.beside[KEYS.gap(4)] = encode_mark(Mark(4, 4_000))


def forge_second_release(tampered: Book) -> None:
    """Let the last entry release 8 once more, in place of 10."""
    tampered.forge(LAST, '"u":10', '"u":8')
    del tampered.beside[KEYS.gap(10)], tampered.beside[KEYS.freed(10)]


def forge_order(tampered: Book) -> None:
    """Let entry 5 take the higher gap, and entry 6 the lower one."""
    tampered.edit(5, "[[2,", "[[4,")
    tampered.forge(6, "[[4,", "[[2,")
    tampered.beside |= {KEYS.reuse(5): b"[4]", KEYS.reuse(6): b"[2]"}


def digests(first: int, names: dict[int, str]) -> bytes:
    return encode_digests(first, [(digest(name), index) for index, name in names.items()])


def forge_key(tampered: Book) -> None:
    tampered.forge(8, "order 2", "order 1")
    tampered.beside[KEYS.request_keys(5)] = digests(5, {5: "order 1", 8: "order 1"})


NUMBERS: list[tuple[str, Tamper, list[tuple[Break, int, int | None]]]] = [
    ("fresh twice, so one is left out", lambda b: b.forge(3, '"f":9', '"f":8'),
     [(Break.DUPLICATE, 3, 8), (Break.SKIPPED, 6, 11)]),
    ("skipped, so one comes twice", lambda b: b.forge(3, '"f":9', '"f":10'),
     [(Break.SKIPPED, 3, 9), (Break.DUPLICATE, 6, 12)]),
    ("skipped", lambda b: b.forge(3, '"n":3', '"n":2'), [(Break.SKIPPED, 6, 11)]),
    ("reused without a release", forge_reuse,
     [(Break.DUPLICATE, 6, 5), (Break.NOT_LOWEST, 6, 12)]),
    ("not the lowest gap", forge_order, [(Break.NOT_LOWEST, 5, 4)]),
    ("release of what nobody ever had", lambda b: b.forge(LAST, '"u":10', '"u":40'),
     [(Break.FALSE_RELEASE, LAST, 40), (Break.STRAY_KEY, LAST, 10), (Break.TWO_STATES, LAST, 10)]),
    ("release of what is free", forge_second_release, [(Break.FALSE_RELEASE, LAST, 8)]),
    ("release by another site", lambda b: b.forge(10, '"site-1"', '"site-2"'),
     [(Break.OTHER_HOLDER, 10, 8)]),
    ("release of a reused number by another partition",
     lambda b: b.forge(7, '"partition-b"', '"partition-a"'), [(Break.OTHER_HOLDER, 7, 7)]),
    ("the wrong issue", lambda b: b.forge(10, '"e":2', '"e":1'),
     [(Break.FALSE_REFERENCE, 10, 8)]),
    ("the wrong release", lambda b: b.forge(8, "[[3,7,", "[[3,4,"),
     [(Break.FALSE_REFERENCE, 8, 3)]),
    ("the wrong time of release", lambda b: b.forge(8, "7000]", "7001]"),
     [(Break.FALSE_REFERENCE, 8, 3)]),
    ("the wrong next number", lambda b: b.forge(8, '"s":13', '"s":12'),
     [(Break.FALSE_COUNT, 8, 12)]),
    ("the wrong next number, with fresh ones", lambda b: b.forge(3, '"s":9', '"s":8'),
     [(Break.FALSE_COUNT, 3, 8)]),
    ("the wrong next number at the end", lambda b: b.forge(LAST, '"s":13', '"s":12'),
     [(Break.FALSE_COUNT, LAST, 12)]),
    ("a key twice", forge_key, [(Break.KEY_TWICE, 8, 3)]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tamper", "expected"), [c[1:] for c in NUMBERS], ids=[c[0] for c in NUMBERS]
)
def test_numbers_forged_with_every_hash_right_are_found(
    tamper: Tamper, expected: list[Any]
) -> None:
    tampered = book()
    tamper(tampered)
    assert sorted(map(str, tampered.seen())) == sorted(str((k.value, *w)) for k, *w in expected)


def test_a_number_reused_that_was_never_issued_is_found() -> None:
    tampered = book()
    tampered.forge(9, "[[7,7,", "[[40,7,")
    assert (Break.FALSE_REUSE, 9, 40) in tampered.seen()


@pytest.mark.parametrize(
    "fields",
    [
        {"next": 14}, {"next": 5}, {"gaps": 1}, {"issued": 9}, {"released": 0}, {"reused": 1},
        {"requests": 1}, {"keyed": 0}, {"counts": {}}, {"tip": "ab" * 32}, {"index": 12},
        {"start": 5}, {"since": 3}, {"latency": [1, 1, 1]}, {"changed_ms": 1},
    ],
    ids=str,
)  # fmt: skip
def test_every_altered_field_of_the_head_is_found(fields: dict[str, Any]) -> None:
    tampered = book()
    tampered.edit_head(**fields)
    (found,) = tampered.prove().findings
    assert (found.kind, found.entry) == (Break.HEAD, LAST)
    assert f"{next(iter(fields))} is" in found.detail


def test_a_head_that_is_missing_or_cannot_be_read_has_its_own_name() -> None:
    for content, kind in ((None, Break.HEAD_MISSING), (b"{}", Break.HEAD_UNREADABLE)):
        tampered = book()
        tampered.head = content
        assert tampered.seen() == [(kind, LAST, None)]


ANOTHER = encode_mark(Mark(1, 1))
ORDERS = {5: "order 1", 8: "order 2"}
KEYS_BESIDE: list[tuple[str, Tamper, tuple[Break, int, int | None]]] = [
    ("gap missing", lambda b: b.beside.pop(KEYS.gap(8)), (Break.GAP_KEY_MISSING, 10, 8)),
    ("gap altered", lambda b: b.beside.update({KEYS.gap(8): ANOTHER}), (Break.ALTERED_KEY, 10, 8)),
    ("gap garbage", lambda b: b.beside.update({KEYS.gap(8): b"x"}), (Break.ALTERED_KEY, 10, 8)),
    ("gap never issued", lambda b: b.beside.update({KEYS.gap(99): ANOTHER}),
     (Break.GAP_WITHOUT_RELEASE, LAST, 99)),
    ("gap and issued", lambda b: b.beside.update({KEYS.gap(5): ANOTHER}),
     (Break.TWO_STATES, LAST, 5)),
    ("gap and issued again", lambda b: b.beside.update({KEYS.gap(2): ANOTHER}),
     (Break.TWO_STATES, LAST, 2)),
    ("freed missing", lambda b: b.beside.pop(KEYS.freed(2)), (Break.MISSING_KEY, 4, 2)),
    ("freed altered", lambda b: b.beside.update({KEYS.freed(2): ANOTHER}),
     (Break.ALTERED_KEY, 4, 2)),
    ("freed stray", lambda b: b.beside.update({KEYS.freed(5): ANOTHER}),
     (Break.STRAY_KEY, LAST, 5)),
    ("reuse missing", lambda b: b.beside.pop(KEYS.reuse(5)), (Break.MISSING_KEY, 5, None)),
    ("reuse altered", lambda b: b.beside.update({KEYS.reuse(5): b"[2,3]"}),
     (Break.ALTERED_KEY, 5, None)),
    ("reuse stray", lambda b: b.beside.update({KEYS.reuse(4): b"[2]"}),
     (Break.STRAY_KEY, 4, None)),
    ("keys missing", lambda b: b.beside.pop(KEYS.request_keys(5)), (Break.MISSING_KEY, 5, None)),
    ("keys altered", lambda b: b.beside.update({KEYS.request_keys(5): b"8 bytes!"}),
     (Break.ALTERED_KEY, 5, None)),
    ("keys stray", lambda b: b.beside.update({KEYS.request_keys(4): b"8 bytes!"}),
     (Break.STRAY_KEY, 4, None)),
    ("keys in the wrong order",
     lambda b: b.beside.update({KEYS.request_keys(5): b"8" * 16 + b"\3\0"}),
     (Break.ALTERED_KEY, 5, None)),
    ("keys without their last entry",
     lambda b: b.beside.update({KEYS.request_keys(5): digests(5, {5: "order 1"})}),
     (Break.MISSING_KEY, 8, None)),
    ("keys with one too many",
     lambda b: b.beside.update({KEYS.request_keys(5): digests(5, ORDERS | {9: "x"})}),
     (Break.STRAY_KEY, 9, None)),
    ("too few digits", lambda b: b.beside.update({KEYS.prefix + b"gap/5": ANOTHER}),
     (Break.STRAY_KEY, 0, None)),
    ("another alphabet's digits",
     lambda b: b.beside.update({KEYS.prefix + b"gap/" + "٣".encode() * 10: ANOTHER}),
     (Break.STRAY_KEY, 0, None)),
    ("more than any number", lambda b: b.beside.update({KEYS.prefix + b"gap/" + b"9" * 20: b"x"}),
     (Break.STRAY_KEY, 0, None)),
    ("no folder", lambda b: b.beside.update({KEYS.prefix + b"0" * DIGITS: b"x"}),
     (Break.STRAY_KEY, 0, None)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("tamper", "expected"), [c[1:] for c in KEYS_BESIDE], ids=[c[0] for c in KEYS_BESIDE]
)
def test_keys_beside_the_ledger_are_compared_one_by_one(tamper: Tamper, expected: Any) -> None:
    tampered = book()
    tamper(tampered)
    assert tampered.seen() == [expected]


@pytest.mark.parametrize("index", range(1, LAST + 1))
def test_no_lost_entry_makes_those_around_it_look_wrong(index: int) -> None:
    for content in (None, b"{", book().entries[index] + b" "):
        tampered = book()
        tampered.entries[index] = content or b""
        if content is None:
            del tampered.entries[index]
        assert [(entry, number) for _, entry, number in tampered.seen()] == [(index, None)]


def test_any_bit_of_any_value_that_is_turned_is_found_and_never_a_crash() -> None:
    whole = book()
    for place in range(0, sum(len(kv.value) for kv in whole.kvs()), 3):
        left, tampered = place, whole.copy()
        for kv in tampered.kvs():
            if left < len(kv.value):
                break
            left -= len(kv.value)
        value = bytearray(kv.value)
        value[left] ^= 1 << place % 8
        if kv.key == KEYS.head:
            tampered.head = bytes(value)
        elif kv.key.startswith(KEYS.all_entries):
            tampered.entries[int(kv.key[-DIGITS:])] = bytes(value)
        else:
            tampered.beside[kv.key] = bytes(value)
        found = tampered.prove().findings
        assert found, (kv.key, bytes(value))
        assert len(found) <= 3, (bytes(value), found)


def test_two_breaks_far_apart_are_both_found() -> None:
    tampered = book()
    tampered.edit(2, *FORGED_NAME)
    del tampered.entries[9]
    assert tampered.seen() == [(Break.CHAIN, 2, None), (Break.MISSING_ENTRY, 9, None)]


def test_a_gap_that_is_passed_over_for_long_is_told_once() -> None:
    history = [[Issue(call(), 3)], [Release(call(), 2, "x")], *([Issue(call())] for _ in range(9))]
    tampered = book(history)
    tampered.edit(3, '"f":4,"n":0,"g":[[2,2,2000]]', '"f":4,"n":1')
    fresh = replace(ledger.decode(tampered.entries[3]))
    tampered.entries[3] = ledger.encode(fresh)
    for index in range(4, len(history) + 1):
        entry = ledger.decode(tampered.entries[index])
        records = tuple(record._replace(first=index + 1) for record in entry.records)
        moved = replace(entry, next_before=index + 1, records=records)
        tampered.entries[index] = ledger.encode(moved)
    tampered.rewrite()
    tampered.beside[KEYS.gap(2)] = tampered.beside[KEYS.freed(2)]
    del tampered.beside[KEYS.reuse(3)]
    assert tampered.seen() == [(Break.NOT_LOWEST, 3, 4)]


def test_a_long_and_varied_history_is_valid() -> None:
    keyed = ([Issue(call(A if n % 3 else B, f"key {n}"), 1 + n % 4)] for n in range(200))
    history = [*HISTORY, *keyed, [Issue(call(B), 40, release_at_once=True)]]
    history += [[Issue(call(), 30), Issue(call(B))], [RESET], [Issue(call(B, "key 1"), 5)]]
    history += [[Release(call(B), 3, "x"), Release(call(B), 1, "x"), Issue(call(A, "again"), 3)]]
    whole = book(history)
    verdict = whole.prove()
    assert verdict.valid, verdict.findings
    assert (verdict.entries, verdict.highest, verdict.gaps) == (len(history), 6, ())


def test_a_key_may_come_again_outside_the_window_in_which_it_is_remembered() -> None:
    history = [[Issue(call(A, f"key {n}"))] for n in range(12)]
    tampered = book(history)
    tampered.forge(12, "key 11", "key 0")
    names = {n + 1: f"key {n % 11}" for n in range(12)}
    tampered.beside[KEYS.request_keys(1)] = digests(1, names)
    assert [f[:3] for f in tampered.prove(window=12).findings] == [(Break.KEY_TWICE, 12, 12)]
    assert tampered.prove(window=11).valid


def test_a_key_with_the_same_digest_is_not_taken_for_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("coordinator.core.verify.digest", lambda _key: 7)
    monkeypatch.setattr("coordinator.core.batch.digest", lambda _key: 7)
    monkeypatch.setattr("coordinator.core.batch.Batch._committed_before", lambda *_: None)
    tampered = book([[Issue(call(A, "one"))], [Issue(call(A, "two"))]])
    tampered.beside[KEYS.request_keys(1)] = encode_digests(1, [(7, 1), (7, 2)])
    assert tampered.prove().valid


def test_findings_are_counted_beyond_those_shown_and_each_kind_has_advice() -> None:
    tampered = book()
    many = {KEYS.gap(number): ANOTHER for number in range(100, 100 + FINDINGS_MAX + 50)}
    tampered.beside |= many
    verdict = tampered.prove()
    assert len(verdict.findings) == FINDINGS_MAX
    assert verdict.counts == {Break.GAP_WITHOUT_RELEASE.value: len(many)}
    assert set(ADVICE) == set(Break)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=12))
def test_lost_ranges_are_a_set_of_entries(ranges: list[tuple[int, int]]) -> None:
    lost, plain = Lost(), set[int]()
    for first, more in ranges:
        lost.add(first, first + more)
        plain |= set(range(first, first + more + 1))
    assert {index for index in range(80) if index in lost} == plain
    assert lost.last == max(plain, default=0)
