"""A thread with an event loop of its own, in which something is open, and calls into it from a program without one."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

START_SECONDS = 30.0
"""Longest wait until it is open."""
STOP_SECONDS = 30.0
"""Longest wait until it is closed."""


class Aside(Generic[T]):
    """What `opened` gives is open on a thread of its own from `start` to `stop`.

    What breaks it there is raised here, by the call that waits for it, by every later one, and by `stop`.
    """

    def __init__(self, opened: Callable[[], AbstractAsyncContextManager[T]], name: str) -> None:
        self._opened = opened
        self._name = name
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, T]] = Future()
        self._error: BaseException | None = None
        self._calls: set[Future[Any]] | None = set()
        """Those under way; None once there can be no more."""
        self._guard = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, timeout: float = START_SECONDS) -> T:
        """Open it; return what it is. Raises what opening raised, or TimeoutError."""
        self._thread.start()
        try:
            return self._ready.result(timeout)[2]
        except TimeoutError:
            raise self._error or TimeoutError(f"{self._name}: not open within {timeout:g} s") from None

    def call(self, make: Callable[[], Coroutine[Any, Any, R]], timeout: float, what: str) -> R:
        """Have a coroutine made and run there; return its result.

        Raises what it raised, what has broken all of it, or TimeoutError saying `what` has taken too long.
        """
        future: Future[R] = Future()
        with self._guard:
            if self._calls is None:
                raise self._broken() from self._error
            self._calls.add(future)
        _tell(self._ready.result(0)[0], lambda: _begin(make, future))
        try:
            return future.result(timeout)
        except CancelledError:
            self._thread.join(STOP_SECONDS)
            raise self._broken() from self._error
        except TimeoutError:
            if not future.cancel():  # its own
                raise
            raise TimeoutError(f"{what}: not done within {timeout:g} s") from None
        finally:
            with self._guard:
                if self._calls is not None:
                    self._calls.discard(future)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Close it. Raises what has broken it, or TimeoutError."""
        loop, ending, _ = self._ready.result(0)
        _tell(loop, ending.set)
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"{self._name}: not closed within {timeout:g} s")
        if self._error is not None:
            raise self._error

    def _broken(self) -> RuntimeError:
        return RuntimeError(f"{self._name} has ended" if self._error is None else f"{self._name}: {self._error!r}")

    # ── on the thread ──

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:  # noqa: BLE001 -- it is raised again where somebody hears it
            self._error = _only(error)
            if not self._ready.done():
                self._ready.set_exception(self._error)
        finally:
            with self._guard:
                calls, self._calls = self._calls or set(), None
            for call in calls:
                call.cancel()

    async def _live(self) -> None:
        ending = asyncio.Event()
        async with self._opened() as inside:
            self._ready.set_result((asyncio.get_running_loop(), ending, inside))
            await ending.wait()


def _tell(loop: asyncio.AbstractEventLoop, work: Callable[[], object]) -> None:
    """Have something done on the loop soon; a loop that is closed does nothing any more."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(work)


def _begin(make: Callable[[], Coroutine[Any, Any, R]], future: Future[R]) -> None:
    """Begin a call, on the loop; nobody waiting any longer ends it."""
    task, loop = asyncio.ensure_future(make()), asyncio.get_running_loop()
    task.add_done_callback(lambda task: _answer(task, future))
    future.add_done_callback(lambda future: _tell(loop, task.cancel) if future.cancelled() else None)


def _answer(task: asyncio.Task[R], future: Future[R]) -> None:
    """Hand over what became of a call, unless nobody waits for it."""
    error = None if task.cancelled() else task.exception()
    with suppress(InvalidStateError):
        if task.cancelled():
            future.cancel()
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())


def _only(error: BaseException) -> BaseException:
    """Return the one error of a group of one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
