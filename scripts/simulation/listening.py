"""What the program logs in a run is part of its history."""

import logging
from collections.abc import Callable
from typing import Self

from simulation.events import Event, Failure, Note
from simulation.virtual_time import RUNNING_IN


class Listening(logging.Handler):
    """Takes what the program logs into the history; an error of its own is a finding."""

    def __init__(
        self, observe: Callable[[Event], None], judge_alarm: Callable[[str], None]
    ) -> None:
        super().__init__(logging.WARNING)
        self._observe = observe
        self._judge_alarm = judge_alarm
        self._logger = logging.getLogger("coordinator")

    def __enter__(self) -> Self:
        self._before = self._logger.propagate, self._logger.level
        self._logger.propagate = False
        self._logger.setLevel(logging.WARNING)
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
        self._logger.propagate, self._logger.level = self._before

    def emit(self, record: logging.LogRecord) -> None:
        """Take one line."""
        process = RUNNING_IN.get()
        who = process.name if process else "the network"
        text = f"{who} says: {record.getMessage()}"
        if record.exc_info and record.exc_info[1]:
            self._observe(Failure(f"{text}: {record.exc_info[1]!r}"))
        else:
            self._observe(Note(text))
            self._judge_alarm(text)
