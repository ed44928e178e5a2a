"""The calls for operators and their tools."""

from coordinator.api import problems as p
from coordinator.api.description.call import JSON, LAST_EVENT_ID, READING, TEXT, Answer, Call, Tag
from coordinator.api.description.operation_answers import ClusterShown, TimelineShown
from coordinator.api.inputs import NothingQuery, Query
from coordinator.api.live_inputs import EventsQuery, TimelineQuery


class VerboseQuery(Query):
    """``GET /readyz``: whatever it says, its name alone counts."""

    verbose: str = ""


CALLS = (
    Call(
        Tag.OPERATIONS,
        "livez",
        "GET",
        "/livez",
        "Whether the process runs",
        "Answers without touching etcd. Restart a node that does not answer here.",
        (Answer(200, "It runs.", media=TEXT, example="ok\n"),),
    ),
    Call(
        Tag.OPERATIONS,
        "readyz",
        "GET",
        "/readyz",
        "Whether this node can serve",
        "It has joined, and etcd answers a read of its majority. `?verbose` adds a line for each "
        "check. Send no callers to a node that answers 503.",
        (
            Answer(200, "It can serve.", media=TEXT, example="ok\n"),
            Answer(
                503,
                "It cannot; a line for each reason.",
                media=TEXT,
                example="etcd: no answer within 3 s\n",
            ),
        ),
        query=VerboseQuery,
        asked={"verbose": ""},
    ),
    Call(
        Tag.OPERATIONS,
        "metrics",
        "GET",
        "/metrics",
        "Metrics for Prometheus",
        "In Prometheus' text format, with totals read from the store when it answers.",
        (
            Answer(
                200,
                "The metrics.",
                media=TEXT,
                example='numbering_sequence_current{document_type="invoice"} 17.0\n',
            ),
        ),
    ),
    Call(
        Tag.OPERATIONS,
        "cluster",
        "GET",
        "/api/v1/cluster",
        "Nodes, store and warnings",
        "All nodes that are known, the members of etcd, who commits for whom, and what an operator "
        "must see.",
        (Answer(200, "The cluster.", ClusterShown),),
        READING,
        query=NothingQuery,
    ),
    Call(
        Tag.OPERATIONS,
        "events",
        "GET",
        "/api/v1/events",
        "What changes, as server-sent events",
        "A `snapshot` of all, or all events since the one that `Last-Event-ID` names; then a "
        "`tick` with what has changed, twice a second at most, and `stale` while the store does "
        "not answer. At most 256 streams on a node.",
        (
            Answer(
                200,
                "The stream; it ends when you leave or the node stops.",
                media="text/event-stream",
                example='event: tick\nid: a1b2c3d4-17\ndata: {"time":1769851800000}\n\n',
            ),
        ),
        (p.STREAMS_FULL,),
        query=EventsQuery,
        headers=(LAST_EVENT_ID,),
    ),
    Call(
        Tag.OPERATIONS,
        "timeline",
        "GET",
        "/api/v1/timeline",
        "The last six hours, as this node has seen them",
        "Totals a second for fifteen minutes, then every ten seconds, and what happened to the "
        "cluster. Where there would be more `points` than asked for, those of equal spans become "
        "one: totals of the last, the worst latencies.",
        (Answer(200, "The history.", TimelineShown),),
        query=TimelineQuery,
        asked={"points": 60},
    ),
    Call(
        Tag.OPERATIONS,
        "openapi",
        "GET",
        "/openapi.json",
        "This document",
        "OpenAPI 3.1, made from the models that the node checks requests with.",
        (Answer(200, "The document.", media=JSON, example={"openapi": "3.1.0"}),),
        query=NothingQuery,
    ),
    Call(
        Tag.OPERATIONS,
        "docs",
        "GET",
        "/docs",
        "This document, for people",
        "The same, as a page.",
        (Answer(200, "The page.", media="text/html", example="<!doctype html>"),),
    ),
)
