"""The contenders: each starts its servers, yields one measured round, and at the end tells truth.

A contender is a context manager that yields `measure(seconds) -> Sample`. What follows its `yield`
verifies what the servers hold, so that speed is never bought with wrong numbers. Contenders that
are compared with each other form a group and are measured in turns.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bench.lab import HERE, BenchError, Lab
from bench.loads import Sample, pgbench, redis_benchmark, wrk, wrks
from bench.pairs import reserve_confirm
from bench.servers import (
    etcd,
    hello_server,
    node,
    nodes,
    postgres,
    redis,
    redis_says,
    root_of,
    sql,
    three_members,
)
from bench.tally import NEXT, POST_NEXT, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Measure = Callable[[float], Sample]
    Contender = Callable[[], AbstractContextManager[Measure]]

BULK = 1_000
NODES = 4
REDIS_FIRST_REQUESTS = 5_000  # until its pace is known


@contextmanager
def rivals(lab: Lab) -> Iterator[dict[str, Contender]]:
    """Yield the contenders with servers of their own each."""
    yield {
        "hello": partial(hello, lab),
        "one-node": partial(one_node, lab),
        "bulk": partial(bulk, lab),
        "reserve-confirm": partial(reserve_confirm, lab),
        "postgres": partial(postgres_gapless, lab, "postgres_transaction.sql"),
        "postgres-function": partial(postgres_gapless, lab, "postgres_function.sql"),
        "postgres-nextval": partial(postgres_nextval, lab),
        "redis": partial(redis_incr, lab),
    }


@contextmanager
def cluster(lab: Lab) -> Iterator[dict[str, Contender]]:
    """Yield the contenders that share three etcd members, each with a counter of its own."""
    with three_members(lab) as members:
        yield {
            "cluster-one": partial(nodes_on, lab, members, 1, "one node, three members"),
            "cluster-four": partial(nodes_on, lab, members, NODES, "four nodes, three members"),
        }


@contextmanager
def hello(lab: Lab) -> Iterator[Measure]:
    """Measure a bare aiohttp server: the ceiling of everything served from one Python process."""
    with hello_server(lab) as port:
        yield lambda seconds: wrk(lab, port, "/", lab.connections, seconds)


@contextmanager
def one_node(lab: Lab) -> Iterator[Measure]:
    """Measure single numbers from one node over one etcd member."""
    with loaded_node(lab, "one node") as load:
        yield lambda seconds: load(seconds, lab.connections)


@contextmanager
def loaded_node(lab: Lab, who: str) -> Iterator[Callable[[float, int], Sample]]:
    """Yield what loads one node over one member for some seconds from so many connections."""
    with etcd(lab) as etcd_port, node(lab, etcd_port) as (port, _pid):
        handed_out = Tally(lab, [port], [etcd_port])
        yield lambda seconds, connections: handed_out.measure(
            lambda: wrk(lab, port, NEXT, connections, seconds), connections
        )
        handed_out.verify(who)


@contextmanager
def bulk(lab: Lab) -> Iterator[Measure]:
    """Measure requests for a thousand numbers each, from one node over one etcd member."""
    asked = {"siteId": "site-1", "partitionId": "partition-a", "invoiceType": "on-cycle"}
    body = json.dumps(asked | {"count": BULK})
    with etcd(lab) as etcd_port, node(lab, etcd_port) as (port, _pid):
        handed_out = Tally(lab, [port], [etcd_port], each=BULK)
        yield lambda seconds: handed_out.measure(
            lambda: wrk(lab, port, POST_NEXT, lab.connections, seconds, body), lab.connections
        )
        handed_out.verify("bulk")


@contextmanager
def nodes_on(lab: Lab, members: list[int], count: int, who: str) -> Iterator[Measure]:
    """Measure single numbers from some nodes over these members.

    Whatever the number of nodes, the same four wrks share the connections: only the nodes differ.
    """
    with nodes(lab, members, count) as ports:
        handed_out = Tally(lab, ports, members, root_of(count))
        each = [ports[at % count] for at in range(NODES)]
        yield lambda seconds: handed_out.measure(
            lambda: wrks(lab, each, lab.connections, seconds, NEXT), lab.connections
        )
        handed_out.verify(who)


@contextmanager
def postgres_gapless(lab: Lab, script: str) -> Iterator[Measure]:
    """Measure PostgreSQL's gapless way: one counter row, whose lock everybody waits for."""
    with postgres(lab) as port:
        yield lambda seconds: pgbench(lab, port, HERE / script, seconds)
        _, row = sql(
            port, "SELECT value, count(number), max(number) FROM counter, audit GROUP BY value"
        )
        lab.check(
            f"{script.removesuffix('.sql')}: gapless",
            f"counter, audit rows and highest number: {row}",
            ok=len(set(row.split("|"))) == 1,
        )


@contextmanager
def postgres_nextval(lab: Lab) -> Iterator[Measure]:
    """Measure a sequence and an audit insert in one statement: durable, but it leaves gaps."""
    answered = 0

    def measure(seconds: float) -> Sample:
        nonlocal answered
        sample = pgbench(lab, port, HERE / "postgres_nextval.sql", seconds)
        answered += sample.done
        return sample

    with postgres(lab) as port:
        yield measure
        _, said = sql(port, "SELECT count(*), max(number) FROM audit; SHOW fsync")
        _, commits = sql(port, "SHOW synchronous_commit")
        rows, _, rest = said.partition("|")
        lab.check(
            "postgres_nextval: every answer is on the disk",
            f"answered {answered:,}, audit rows {rows}, highest number and fsync "
            f"{' '.join(rest.split())}, synchronous_commit {commits}",
            ok=rows.isdigit() and int(rows) >= answered and rest.endswith("on") and commits == "on",
        )


@contextmanager
def redis_incr(lab: Lab) -> Iterator[Measure]:
    """Measure Redis' INCR, each on the disk before it is answered; it keeps no audit record."""
    sent, pace = 0, 0.0

    def measure(seconds: float) -> Sample:
        nonlocal sent, pace
        requests = round(pace * seconds) or REDIS_FIRST_REQUESTS
        sample = redis_benchmark(lab, port, requests, seconds)
        sent, pace = sent + requests, sample.per_second
        return sample

    with redis(lab) as port:
        if redis_says(port, "PING") != "PONG":
            raise BenchError("Redis does not answer")
        yield measure
        held = redis_says(port, "GET counter")
        # redis-benchmark finishes what its connections have begun, beyond what was asked for.
        lab.check(
            "redis: every answer is in the counter",
            f"asked {sent:,}, counter {held}",
            ok=held.isdigit() and int(held) >= sent,
        )
