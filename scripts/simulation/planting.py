"""How a bug is planted: a context in which a piece of the real code is another one."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import NamedTuple
from unittest.mock import patch

from simulation.events import Rule

Planting = AbstractContextManager[object]


class Bug(NamedTuple):
    """A bug: what it does, the rules that it may be found to break, and how it is planted."""

    what: str
    rules: frozenset[Rule]
    plant: Callable[[], Planting]


def rules(*some: Rule) -> frozenset[Rule]:
    """Return the rules that a bug may be found to break."""
    return frozenset(some)


def with_(owner: object, name: str, what: object) -> Callable[[], Planting]:
    """Return a planting that puts something in the place of what ``owner`` has."""
    return lambda: patch.object(owner, name, what)


def together(*some: Callable[[], Planting]) -> Callable[[], Planting]:
    """Return a planting of several things at once."""

    def plant() -> Planting:
        stack = ExitStack()
        for each in some:
            stack.enter_context(each())
        return stack

    return plant
