"""An event loop whose time is a number, and processes in it that can be stopped and killed.

When nothing is ready, the loop does not wait: it goes to the moment of the next timer. Nothing
here reads a real clock, sleeps, does I/O or starts a thread, so a run depends on its inputs alone.

A `Process` stands for one run of a program. Whatever its code starts (tasks, timers, callbacks)
belongs to it, by a context variable. A process that is paused keeps its callbacks for later, as a
stopped one does (its timers then fire late); one that is killed never runs another line, not even
of clean-up.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Args = TypeVarTuple("Args")

ROUNDS_MAX = 400_000
"""Turns of the loop in one run: far more than any schedule needs."""


class Stuck(Exception):
    """The run can not end: nothing will ever happen again, or it goes round in circles."""


class Process:
    """One run of a program, from its start to its end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.context = copy_context()
        self.context.run(RUNNING_IN.set, self)
        self._is_paused = False
        self._is_dead = False
        self._held: list[_Step] = []

    def pause(self) -> None:
        """Stop running until ``resume``."""
        self._is_paused = True

    def resume(self, loop: asyncio.AbstractEventLoop) -> None:
        """Go on: first with all that came due meanwhile, in its order."""
        self._is_paused = False
        if not self._is_dead:
            self._run_what_is_held(loop)

    def kill(self) -> None:
        """Never run again."""
        self._is_dead = True

    def revive_to_end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the tasks end as cancelled, when the run is over and nobody looks any more."""
        self._is_dead = self._is_paused = False
        self._run_what_is_held(loop)

    def _run_what_is_held(self, loop: asyncio.AbstractEventLoop) -> None:
        held, self._held = self._held, []
        for step in held:
            loop.call_soon(step, context=_NOWHERE)

    def may_run(self, step: "_Step") -> bool:
        """Tell whether a step may run now; if not, keep it."""
        if self._is_paused or self._is_dead:
            self._held.append(step)
            return False
        return True


_NOWHERE = Context()
"""The context of the loop's own callbacks: they enter the process's context themselves."""

RUNNING_IN: ContextVar[Process | None] = ContextVar("running in", default=None)
"""The process whose code runs; None in the network and at the clients."""


class _Step:
    """One callback of a process."""

    __slots__ = ("_args", "_callback", "_context", "_process", "handle")

    def __init__(
        self,
        process: Process,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context,
    ) -> None:
        self._process = process
        self._callback = callback
        self._args = args
        self._context = context
        self.handle: asyncio.Handle | None = None

    def __call__(self) -> None:
        if self.handle is not None and self.handle.cancelled():
            return  # by the process itself, between the moment it was due and now
        if self._process.may_run(self):
            self._context.run(self._callback, *self._args)


class _JumpToNextTimer(selectors.SelectSelector):
    """Instead of waiting for so long, lets so much virtual time pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.rounds = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("nothing will ever happen again")
        self.rounds += 1
        if self.rounds > ROUNDS_MAX:
            raise Stuck(f"no end after {ROUNDS_MAX} rounds of the event loop")
        self.now_s += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, which begins at 0 s."""

    def __init__(self) -> None:
        self._jump = _JumpToNextTimer()
        super().__init__(self._jump)
        self._tasks: list[asyncio.Task[Any]] = []
        self._processes: list[Process] = []
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        """Return the virtual seconds since the start."""
        return self._jump.now_s

    def call_soon(
        self, callback: Callable[[*Args], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        """Run a callback next, in the process of its context."""
        step = _step(callback, args, context)
        if step is None:
            return super().call_soon(callback, *args, context=context)
        step.handle = super().call_soon(step, context=_NOWHERE)
        return step.handle

    def call_at(
        self,
        when: float,
        callback: Callable[[*Args], object],
        *args: *Args,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Run a callback at that moment, in the process of its context."""
        step = _step(callback, args, context)
        if step is None:
            return super().call_at(when, callback, *args, context=context)
        timer = super().call_at(when, step, context=_NOWHERE)
        step.handle = timer
        return timer

    def call_soon_threadsafe(
        self, callback: Callable[[*Args], object], *args: *Args, context: Context | None = None
    ) -> asyncio.Handle:
        """Run a callback next: there are no other threads."""
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Args], T], *args: *Args
    ) -> asyncio.Future[T]:
        """Run the function at once: there are no other threads."""
        del executor
        done: asyncio.Future[T] = self.create_future()
        done.set_result(func(*args))
        return done

    def new_process(self, name: str) -> Process:
        """Return a process that has not run yet."""
        process = Process(name)
        self._processes.append(process)
        return process

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, work: Any, **more: Any
    ) -> "asyncio.Task[Any]":
        # Kept until the end: a suspended task that is collected runs its clean-up at any moment.
        task = asyncio.Task(work, loop=loop, **more)
        self._tasks.append(task)
        return task

    def close(self) -> None:
        """Cancel what still runs, also in dead processes, and close."""
        self.set_exception_handler(lambda _loop, _context: None)
        for process in self._processes:
            process.revive_to_end(self)
        for _ in range(2):  # what ends may start something to clean up
            unfinished = [task for task in self._tasks if not task.done()]
            for task in unfinished:
                task.cancel()
            if unfinished:
                ended = asyncio.gather(*unfinished, return_exceptions=True)
                self.run_until_complete(ended)
        self._tasks.clear()
        super().close()


def _step(
    callback: Callable[..., object], args: tuple[Any, ...], context: Context | None
) -> _Step | None:
    chosen = copy_context() if context is None else context
    process = chosen.get(RUNNING_IN)
    return None if process is None else _Step(process, callback, args, chosen)


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never waits, and return its result."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError(f"{work!r} waits")
