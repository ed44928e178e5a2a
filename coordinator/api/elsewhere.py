"""What another node keeps in its memory: its name is part of the id, so any node can be asked."""

import re
from http import HTTPStatus

from aiohttp import web

from coordinator.api import problems
from coordinator.api.answers import json_answer
from coordinator.api.problems import Kind, Problem
from coordinator.jobs.neighbours import Neighbours, Unreachable

ID = re.compile(r"[A-Za-z0-9._-]{1,80}")


def node_of(kept_id: str) -> str:
    """Return the node that keeps what has this id."""
    return kept_id.rpartition(".")[0]


async def ask_owner(
    neighbours: Neighbours, request: web.Request, not_there: Kind, lost: str
) -> web.StreamResponse:
    """Return what the node answers that keeps what the ``id`` in the address names.

    ``not_there`` is the refusal when nobody has it, ``lost`` a sentence for when that node does
    not answer. Raises Problem.
    """
    owner = node_of(request.match_info["id"])
    nodes = await neighbours.nodes()
    if nodes and all(node.node != owner for node in nodes):
        raise Problem(not_there, f"No node called {owner} is known here.")
    try:
        status, body = await neighbours.ask(owner, request.method, request.path)
    except Unreachable as silent:
        detail = f"{owner} keeps {request.match_info['id']}, and {silent}. {lost}"
        raise Problem(problems.OUT_OF_REACH, detail) from None
    if status >= HTTPStatus.BAD_REQUEST:
        kind = not_there if status == not_there.status else problems.OUT_OF_REACH
        raise Problem(kind, str(body.get("detail", body)))
    return json_answer(body, status)
