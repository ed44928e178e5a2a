"""Imports that a node has under way, and the newest of those that ended: for whoever waits."""

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from coordinator.clock import now_ms
from coordinator.importing.staging import Phase

KEPT_MAX = 20


@dataclass
class Course:
    """The course of one import: who does it writes here, and who watches it reads.

    ``done`` of ``total`` is of the phase ``counted``, the present one or the one at the end;
    ``total`` is None where nobody can know it.
    ``name`` is what a finished import is known by. Times are milliseconds since 1970.
    """

    id: str
    request_id: str
    key: str | None
    started_ms: int
    dry_run: bool = False
    phase: Phase = Phase.RECEIVING
    counted: Phase = Phase.RECEIVING
    done: int = 0
    total: int | None = None
    rows_total: int | None = None
    document_types: tuple[str, ...] = ()
    ended_ms: int | None = None
    name: str | None = None
    imported: int = 0
    replayed: bool = False
    code: str | None = None
    detail: str = ""

    def at(self, phase: Phase, done: int, total: int | None) -> None:
        """Take how far it is."""
        self.phase = self.counted = phase
        self.done, self.total = done, total

    def ended(self, phase: Phase, detail: str = "", code: str | None = None) -> None:
        """Take how it ended."""
        self.phase, self.detail, self.code, self.ended_ms = phase, detail, code, now_ms()

    def is_of(self, request_id: str) -> bool:
        """Tell whether a request with this id, or this idempotency key, has asked for it."""
        return request_id in {self.request_id, self.key}


class ImportBook:
    """The newest ``KEPT_MAX`` imports of one node, in its memory: a restart forgets them."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._courses: OrderedDict[str, Course] = OrderedDict()

    @property
    def newest_first(self) -> list[Course]:
        """Return all imports that are kept."""
        return list(reversed(self._courses.values()))

    def find(self, course_id: str) -> Course | None:
        """Return an import by its id."""
        return self._courses.get(course_id)

    def begin(self, request_id: str, key: str | None) -> Course:
        """Return the course of a new import; the oldest that has ended is forgotten for it."""
        course = Course(f"{self.node}.{secrets.token_hex(4)}", request_id, key, now_ms())
        self._courses[course.id] = course
        while len(self._courses) > KEPT_MAX:
            ended = (each.id for each in self._courses.values() if each.ended_ms is not None)
            self._courses.pop(next(ended, next(iter(self._courses))))
        return course
