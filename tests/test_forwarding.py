"""What nodes tell each other of a batch: it comes back as it was, and nonsense is called so."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coordinator.core import forwarding
from coordinator.core.catalogue import RESERVATION_S_MAX
from coordinator.core.forwarding import Forward, Report, may_be_handed_over
from coordinator.core.head import Head
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules, plan
from coordinator.core.records import Entry, How, Latency, Origin, Part
from coordinator.core.requests import (
    AcceptLoss,
    Ask,
    Call,
    Holder,
    Instant,
    Issue,
    Refused,
    Release,
    Reserve,
    Reset,
    Settle,
    Why,
)
from coordinator.core.state import CounterState
from coordinator.core.templates import Writing
from coordinator.core.tokens import SEQ_WIDTH_MAX
from coordinator.core.transaction import Guard, KeyValue
from coordinator.core.unreadable import Unreadable

KEYS = Keys().counter("invoice")
NOW = Instant(1_767_225_600_000, 5_000_000)
LATER = Instant(1_767_225_600_123, 9_000_000)

words = st.text(max_size=12)
maybe = st.none() | words
wholes = st.integers(0, 2**63 - 1)
small = st.integers(0, 10**9)
origins = st.builds(Origin, words, words, maybe, maybe, maybe, maybe)
keyed = st.tuples(words, words) | st.just((None, None))  # a payload is digested for its key only
calls = st.builds(
    lambda by, name, at, key, metadata: Call(by, name, at, *key, metadata),
    origins,
    words,
    st.integers(0, NOW.monotonic_us),
    keyed,
    maybe,
)
issues = st.builds(Issue, calls, st.integers(1, 10**6), st.booleans()).map(Ask)
plain = st.builds(lambda by, name: Ask(Issue(Call(by, name, 0))), origins, words)
holders = st.builds(Holder, wholes, small, small, st.none() | origins, small)
releases = st.tuples(st.builds(Release, calls, wholes, words, small), st.none() | holders).map(
    lambda pair: Ask(*pair)
)
writings = st.builds(Writing, words, st.integers(0, SEQ_WIDTH_MAX), words, wholes)
reserves = st.builds(Reserve, calls, writings, st.integers(0, RESERVATION_S_MAX), words).map(Ask)
settles = st.builds(Settle, calls, wholes, words, st.sampled_from(How), st.booleans(), words).map(
    Ask
)
asks = plain | issues | releases | reserves | settles
parts = st.builds(Part, words, words, small, st.builds(Latency, small, small, small))
hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
forwards = st.builds(Forward, parts, small, hashes, st.lists(asks, max_size=8).map(tuple))


def waited(ask: Ask, now: Instant) -> int:
    return now.monotonic_us - ask.request.call.arrived_us


@given(forwards)
def test_a_batch_comes_back_as_it_was_handed_in(forward: Forward) -> None:
    came = forwarding.decode(forwarding.encode(forward, NOW), LATER)
    assert came[:3] == forward[:3]
    assert [waited(ask, LATER) for ask in came.asks] == [waited(ask, NOW) for ask in forward.asks]
    assert [timeless(ask) for ask in came.asks] == [timeless(ask) for ask in forward.asks]


def timeless(ask: Ask) -> Ask:
    call = ask.request.call._replace(arrived_us=0)
    return ask._replace(request=ask.request._replace(call=call))  # type: ignore[call-arg]


pairs = st.tuples(wholes, st.binary(max_size=200)).map(
    lambda pair: KeyValue(KEYS.entry(pair[0]), pair[1], 0)
)
outcomes = st.builds(
    Report,
    st.tuples(
        st.builds(
            lambda value, at: (KeyValue(KEYS.head, value, at),), st.binary(min_size=1), wholes
        ),
        st.lists(pairs, max_size=4).map(tuple),
    ),
    st.lists(st.tuples(small, st.builds(Refused, st.sampled_from(Why), words)), max_size=4).map(
        tuple
    ),
    st.lists(st.tuples(small, st.lists(wholes, max_size=3).map(tuple)), max_size=4).map(tuple),
)


@given(outcomes)
def test_an_outcome_comes_back_as_it_was_told(report: Report) -> None:
    assert forwarding.decode_report(forwarding.encode_report(report), KEYS) == report


json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | words | hashes,
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
fields = st.dictionaries(st.sampled_from("aipcrhexu"), json)


@given(st.binary() | (json | fields).map(orjson.dumps))
@example(b"")
@example(b"[" * 100_000)
def test_nonsense_is_no_batch_and_no_outcome(content: bytes) -> None:
    for decode in (
        lambda: forwarding.decode(content, NOW),
        lambda: forwarding.decode_report(content, KEYS),
    ):
        with pytest.raises(Unreadable):
            decode()


@given(forwards, st.data())
def test_a_batch_with_one_value_exchanged_is_a_batch_or_nonsense(
    forward: Forward, data: st.DataObject
) -> None:
    whole = orjson.loads(forwarding.encode(forward, NOW))
    where, name = whole, data.draw(st.sampled_from(sorted(whole)))
    while isinstance(where[name], list) and where[name] and data.draw(st.booleans()):
        where, name = where[name], data.draw(st.integers(0, len(where[name]) - 1))
    where[name] = data.draw(json)
    try:
        read = forwarding.decode(orjson.dumps(whole), NOW)
    except Unreadable:
        return
    assert forwarding.decode(forwarding.encode(read, NOW), NOW) == read


@given(outcomes, st.integers(1, 400), st.binary(min_size=1, max_size=3))
def test_an_outcome_that_was_cut_or_grew_is_nonsense(report: Report, cut: int, more: bytes) -> None:
    content = forwarding.encode_report(report)
    for wrong in (content[:-cut], content + more):
        with pytest.raises(Unreadable):
            forwarding.decode_report(wrong, KEYS)


def test_only_what_needs_no_entries_of_the_ledger_is_handed_over() -> None:
    call = Call(Origin("site-1", "a"), "c", 0)
    entry = Entry(1, "0" * 64, 0, 1, (Part("n", "n.1", 1),), ())
    assert may_be_handed_over(Ask(Issue(call)))
    assert may_be_handed_over(Ask(Release(call, 1, "x")))
    assert may_be_handed_over(Ask(Reserve(call, Writing("A-", 3, "", 9), 1, "t")))
    assert may_be_handed_over(Ask(Settle(call, 1, "t", How.CONFIRMED, voids=True)))
    for ask in (
        Ask(Issue(call), earlier=(entry,)),
        Ask(Reset(call)),
        Ask(AcceptLoss(call, 1, "0" * 64, "x")),
    ):
        assert not may_be_handed_over(ask)
    with pytest.raises(ValueError, match="Reset"):
        forwarding.encode(Forward(Part("n", "n.1", 1), 0, "0" * 64, (Ask(Reset(call)),)), NOW)


def advanced(state: CounterState, *runs: str) -> CounterState:
    index = state.head.index + 1
    entry = Entry(index, state.head.tip, 0, 1, tuple(Part(run, run, index) for run in runs), ())
    state.apply(entry, replace(state.head, index=index))
    return state


def test_what_a_run_has_done_is_known_or_taken_for_newer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coordinator.core.state.RUNS_REMEMBERED_MAX", 2)
    state = CounterState(Head(start=1, next=1, index=5))
    assert state.has_nothing_newer_of("a", 5)
    assert not state.has_nothing_newer_of("a", 4)  # who knows what was before it was loaded
    advanced(advanced(state, "a", "b"), "b")  # entries 6 and 7
    assert not state.has_nothing_newer_of("a", 5)
    assert state.has_nothing_newer_of("a", 6)
    assert not state.has_nothing_newer_of("b", 6)
    assert state.has_nothing_newer_of("b", 7)
    assert state.has_nothing_newer_of("c", 5)
    advanced(state, "c")  # entry 8: what "a" has done is forgotten
    assert not state.has_nothing_newer_of("a", 5)
    assert not state.has_nothing_newer_of("d", 5)
    assert state.has_nothing_newer_of("a", 6)
    assert state.has_nothing_newer_of("d", 6)


def test_two_batches_of_one_run_are_never_in_one_plan() -> None:
    state = CounterState(Head(start=1, next=1))
    given_parts: tuple[Any, ...] = (Part("n", "n.1", 1), Part("m", "m.1", 1), Part("m", "m.1", 2))
    with pytest.raises(ValueError, match="two batches of one run"):
        plan(state, KEYS, Guard(KEYS.head), [], NOW, given_parts, Rules())
