"""The ledger's bytes: what is written can be read, in one form only, and stays small."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head, advance
from coordinator.core.keys import Keys
from coordinator.core.ledger import NO_HASH
from coordinator.core.marks import Mark, decode_reused, encode_mark, encode_reused
from coordinator.core.records import (
    Cause,
    Entry,
    Issued,
    Latency,
    Origin,
    Part,
    Released,
    Restarted,
    Reused,
)
from coordinator.core.transaction import KeyValue
from coordinator.core.unreadable import Unreadable
from coordinator.core.verify import Break, Verdict, Verifier

names = st.sampled_from(["site-1", "site-2", "Zürich"])
texts = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=6)
numbers = st.integers(1, 2**47)
tokens = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
origins = st.builds(Origin, names, names, st.none() | names, st.none() | texts, st.none() | texts)
correlations = st.one_of(
    tokens, tokens.map("run-".__add__), tokens.map("other-".__add__), st.just("run-")
)
parts = st.integers(0, 1)
causes = st.builds(
    Cause,
    origins,
    correlations,
    st.integers(0, 10**7),
    st.none() | tokens,
    st.none() | tokens,
    st.none() | st.just('{"order":7}'),
    parts,
).map(lambda cause: cause if cause.key else cause._replace(payload=None))
plain = st.builds(
    lambda c, part: Cause(Origin("site-1", "partition-a"), c, 7, part=part), correlations, parts
)


runs = st.builds(Reused, numbers, numbers, numbers, st.integers(1, 50))
KINDS = ["single", "single", "issue", "release", "restart"]


@st.composite
def records(draw: Any) -> tuple[Any, ...]:
    """Return records whose fresh numbers follow each other, as a plan makes them."""
    made: list[Any] = []
    number = draw(numbers)
    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=6)):
        if kind == "single":
            made.append(Issued(draw(plain), number, 1))
            number += 1
        elif kind == "issue":
            fresh = draw(st.integers(0, 3))
            reused = draw(st.lists(runs, max_size=3))
            made.append(Issued(draw(causes), number, fresh, tuple(reused)))
            number += fresh
        elif kind == "release":
            made.append(Released(draw(causes), draw(numbers), draw(numbers), draw(texts)))
        else:
            made.append(Restarted(draw(causes)))
    return tuple(made)


def entry_of(index: int, previous: str, first: int, some: tuple[Any, ...]) -> Entry:
    parts = (Part("node", "run", 7, Latency(1, 2, 3)), Part("other", "other", 2**40))
    return Entry(index, previous, 5, first, parts, some)


@given(records())
def test_what_is_written_is_read_again_and_has_one_form(some: tuple[Any, ...]) -> None:
    entry = entry_of(3, NO_HASH, 1, some)
    content = ledger.encode(entry)
    assert ledger.decode(content) == entry
    assert ledger.encode(ledger.decode(content)) == content


def test_a_number_in_a_busy_entry_costs_few_bytes() -> None:
    origin = Origin("site-1", "partition-a", "on-cycle", None, "10.1.2.3", "billing/1.0")
    some = tuple(Issued(Cause(origin, f"run-{i:x}", 4_000 + i), i, 1) for i in range(1, 65))
    content = ledger.encode(entry_of(1, NO_HASH, 1, some))
    assert len(content) / 64 < 20


def test_numbers_released_together_are_issued_again_as_one_run() -> None:
    cause = Cause(Origin("site-1", "partition-a"), "c")
    together = Issued(cause, 20_001, 5, (Reused(1, 7, 9, 10_000), Reused(15_000, 8, 9)))
    content = ledger.encode(entry_of(3, NO_HASH, 20_001, (together,)))
    assert b'"g":[[1,7,9,10000],[15000,8,9]]' in content
    (record,) = ledger.decode(content).records
    assert record.quantity == 10_006
    assert record.spans() == [range(1, 10_001), range(15_000, 15_001), range(20_001, 20_006)]
    assert record.numbers() == [n for span in record.spans() for n in span]
    for wrong in (b"[1,7,9,0]", b"[1,7,9,-1]", b"[1,7,9,10000000000]", b"[1,7]", b"[1,7,9,2,3]"):
        with pytest.raises(Unreadable):
            ledger.decode(forged(content, b"[1,7,9,10000]", wrong))


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=9))
def test_a_list_of_reused_numbers_has_one_form_and_is_read_again(some: list[Any]) -> None:
    spans = [range(first, first + count) for first, count in some]
    written = encode_reused(spans)
    numbers_there = {n for span in spans for n in span}
    read = [n for span in decode_reused(written) for n in span]
    assert read == sorted(numbers_there)
    assert encode_reused([range(n, n + 1) for n in numbers_there]) == written


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'"x"', b'{"v":3}', b'{"v":2,"i":1}', b"\xff"]
)
def test_what_is_no_entry_is_refused(content: bytes) -> None:
    with pytest.raises(Unreadable):
        ledger.decode(content)


def test_the_head_is_read_as_it_was_written() -> None:
    cause = Cause(Origin("site-1", "partition-a", "on-cycle"), "c")
    entry = entry_of(1, NO_HASH, 1, (Issued(cause, 1, 3), Released(cause, 2, 1, "x")))
    head = advance(Head(start=1, next=1), entry, "ab" * 32)
    assert heads.decode(heads.encode(head)) == head
    assert (head.next, head.gaps, head.issued, head.released) == (4, 1, 3, 1)
    assert head.counts == {"site-1:partition-a:on-cycle": 3}


HERE = Cause(Origin("site-1", "partition-a", "on-cycle"), "c")


def whole_ledger() -> list[bytes]:
    some: list[tuple[int, tuple[Any, ...]]] = [
        (1, (Issued(HERE, 1, 5),)),
        (6, (Released(HERE, 2, 1, "x"), Released(HERE, 4, 1, "x"))),
        (6, (Issued(HERE, 6, 0, (Reused(2, 2, 5),)),)),
        (6, (Issued(HERE, 6, 1, (Reused(4, 2, 5),)),)),
        (7, (Released(HERE, 6, 4, "x"),)),
    ]
    tip, contents = NO_HASH, []
    for index, (first, records_) in enumerate(some, 1):
        contents.append(ledger.encode(entry_of(index, tip, first, records_)))
        tip = ledger.chain(tip, contents[-1])
    return contents


KEYS = Keys().counter("invoice")


def head_of(contents: list[bytes]) -> Head:
    head = Head(start=1, next=1)
    for content in contents:
        entry = ledger.decode(content)
        head = advance(head, entry, ledger.chain(entry.previous, content))
    return head


def beside() -> dict[bytes, bytes]:
    """What the whole ledger leaves beside itself."""
    second, fifth = encode_mark(Mark(2, 5)), encode_mark(Mark(5, 5))
    return {
        KEYS.freed(2): second,
        KEYS.freed(4): second,
        KEYS.freed(6): fifth,
        KEYS.gap(6): fifth,
        KEYS.reuse(3): encode_reused([range(2, 3)]),
        KEYS.reuse(4): encode_reused([range(4, 5)]),
    }


def prove(contents: list[bytes | None], stored: dict[bytes, bytes], head: bytes | None) -> Verdict:
    """Prove a ledger as it stands in a store."""
    verifier = Verifier(KEYS, 1)
    for index, found in enumerate(contents, 1):
        if found is not None:
            verifier.feed(KeyValue(KEYS.entry(index), found, 0))
    for key, value in stored.items():
        verifier.beside(KeyValue(key, value, 0))
    verdict = verifier.finish(head)
    assert verdict.valid == (not verdict.findings)
    return verdict


def findings(contents: list[bytes | None], **more: Any) -> set[Break]:
    head = more.get("head", heads.encode(head_of(whole_ledger())))
    verdict = prove(contents, more.get("stored", beside()), head)
    return {finding.kind for finding in verdict.findings}


def forged(content: bytes, old: bytes, new: bytes) -> bytes:
    assert old in content
    return content.replace(old, new)


@pytest.mark.parametrize("key", sorted(beside()))
def test_a_key_beside_the_ledger_that_is_missing_or_altered_is_found(key: bytes) -> None:
    good = whole_ledger()
    rest = {k: v for k, v in beside().items() if k != key}
    missing = Break.GAP_KEY_MISSING if key == KEYS.gap(6) else Break.MISSING_KEY
    assert findings([*good], stored=rest) == {missing}
    assert findings([*good], stored=rest | {key: b"{}"}) == {Break.ALTERED_KEY}


def test_keys_that_follow_from_nothing_are_found() -> None:
    good = whole_ledger()
    assert findings([*good], stored=beside() | {KEYS.gap(3): b"x"}) == {Break.TWO_STATES}
    assert findings([*good], stored=beside() | {KEYS.gap(7): b"x"}) == {Break.GAP_WITHOUT_RELEASE}
    stray = {KEYS.freed(1): b"x", KEYS.request_keys(1): b"x", KEYS.prefix + b"gap/abc": b"x"}
    assert findings([*good], stored=beside() | stray) == {Break.STRAY_KEY}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"f":1', b'"f":"1"'),
        (b'"f":1', b'"f":-1'),
        (b'"f":1', b'"f":1.5'),
        (b'"n":5', b'"n":1000000000000000'),
        (b'"n":5', b'"n":true'),
        (b'"t":5', b'"t":null'),
        (b'"t":5', b'"t":1000000000000000000'),
        (b"7,1,2,3]", b"7,1,2,3,4]"),
        (b"7,1,2,3]", b"7,1,2]"),
        (b"7,1,2,3]", b'"7",1,2,3]'),
        (b'"a":[[', b'"a":[7,['),
        (b'"c":0,"q"', b'"c":0,"a":2,"q"'),
        (b'"p":"', b'"p":"zz'),
        (b'"c":0', b'"c":9'),
        (b'"c":0', b'"c":-1'),
        (b'"c":[[', b'"c":[[[],'),
        (b'"r":[', b'"r":[7,'),
    ],
)
def test_a_field_of_the_wrong_kind_is_a_finding_and_no_crash(old: bytes, new: bytes) -> None:
    good = whole_ledger()
    with pytest.raises(Unreadable):
        ledger.decode(forged(good[0], old, new))
    assert findings([forged(good[0], old, new), *good[1:]]) == {Break.UNREADABLE}


def test_one_altered_entry_is_reported_where_it_is_and_not_on_every_entry_after() -> None:
    good = whole_ledger()
    renamed = forged(good[1], b'"y":"x"', b'"y":"z"')
    head = heads.encode(head_of(good))
    verdict = prove([good[0], renamed, *good[2:]], beside(), head)
    assert verdict.counts == {Break.CHAIN.value: 1}
