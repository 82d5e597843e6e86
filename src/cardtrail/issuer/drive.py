"""The two drivers of flows: what waits, locks and sends, once for an event loop and once for threads."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from itertools import islice
from typing import TypeVar

import msgspec

from cardtrail.errors import CardtrailError, Unreachable
from cardtrail.issuer.send import AsyncSender, Sender
from cardtrail.issuer.session import Session
from cardtrail.issuer.steps import Failed, Flow, Plan, Renew, Request, Response, Step, Wait
from cardtrail.protocol.failure import Failure

S = TypeVar("S")
T = TypeVar("T")

_NO_PLACE = Failed(Failure.TIMEOUT, "not sent: the calls that may be made at once took all its time")
_NO_TOKEN = "no token in time"  # noqa: S105 -- a text for people


class AsyncDriver:
    """Carries out flows in an event loop."""

    def __init__(self, session: Session, sender: AsyncSender) -> None:
        self._session = session
        self._sender = sender
        self._places = asyncio.Semaphore(session.link.concurrency)
        self._renewing = asyncio.Lock()

    async def run(self, flow: Flow[T]) -> T:
        """Return what the flow returns, or raise what it raises."""
        try:
            step: Step = next(flow)
            while True:
                if type(step) is Request:
                    step = flow.send(await self._send(step))
                elif type(step) is Wait:
                    await asyncio.sleep(step.seconds)
                    step = next(flow)
                else:
                    step = await self._renewed(flow, step)  # type: ignore[arg-type]  # what is left of the union
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what a generator returns has no type here

    async def each(self, items: Iterable[S] | AsyncIterable[S], plan: Plan[S, T]) -> AsyncGenerator[T, None]:
        """Yield what the plan's flows return for the items, in their order; no more are taken than are at work."""
        tasks: deque[asyncio.Task[T]] = deque()
        try:
            async with aclosing(_async_batches(items, plan.size)) as batches:
                async for batch in batches:
                    tasks.append(asyncio.create_task(self.run(plan.flow_of(batch))))
                    if len(tasks) >= plan.ahead:
                        yield await tasks.popleft()
            while tasks:
                yield await tasks.popleft()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """End every connection."""
        await self._sender.close()

    async def _send(self, request: Request) -> Response | Failed:
        if self._places.locked():
            try:
                async with asyncio.timeout(request.until - self._session.clock()):
                    await self._places.acquire()
            except TimeoutError:
                return _NO_PLACE
            request = _shortened(request, self._session.clock())
        else:
            await self._places.acquire()
        try:
            return await self._sender.send(request)
        finally:
            self._places.release()

    async def _renewed(self, flow: Flow[T], step: Renew) -> Step:
        try:
            await self._renew(step)
        except CardtrailError as error:
            return flow.throw(error)
        return next(flow)

    async def _renew(self, step: Renew) -> None:
        if step.is_early and self._renewing.locked():
            return
        try:
            async with asyncio.timeout(step.until - self._session.clock()), self._renewing:
                await self.run(self._session.renewal(step.round))
        except TimeoutError:
            raise Unreachable(_NO_TOKEN) from None


class Driver:
    """Carries out flows in the threads that call it."""

    def __init__(self, session: Session, sender: Sender) -> None:
        self._session = session
        self._sender = sender
        self._places = threading.Semaphore(session.link.concurrency)
        self._renewing = threading.Lock()

    def run(self, flow: Flow[T]) -> T:
        """Return what the flow returns, or raise what it raises."""
        try:
            step: Step = next(flow)
            while True:
                if type(step) is Request:
                    step = flow.send(self._send(step))
                elif type(step) is Wait:
                    time.sleep(step.seconds)
                    step = next(flow)
                else:
                    step = self._renewed(flow, step)  # type: ignore[arg-type]  # what is left of the union
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what a generator returns has no type here

    def each(self, items: Iterable[S], plan: Plan[S, T]) -> Iterator[T]:
        """Yield what the plan's flows return for the items, in their order; no more are taken than are at work."""
        futures: deque[Future[T]] = deque()
        with ThreadPoolExecutor(min(plan.ahead, self._session.link.concurrency), "cardtrail") as threads:
            try:
                for batch in _batches(items, plan.size):
                    futures.append(threads.submit(self.run, plan.flow_of(batch)))
                    if len(futures) >= plan.ahead:
                        yield futures.popleft().result()
                while futures:
                    yield futures.popleft().result()
            finally:
                for future in futures:
                    future.cancel()

    def close(self) -> None:
        """End every connection."""
        self._sender.close()

    def _send(self, request: Request) -> Response | Failed:
        if self._places.acquire(blocking=False):
            late = request
        elif self._places.acquire(timeout=max(0.0, request.until - self._session.clock())):
            late = _shortened(request, self._session.clock())
        else:
            return _NO_PLACE
        try:
            return self._sender.send(late)
        finally:
            self._places.release()

    def _renewed(self, flow: Flow[T], step: Renew) -> Step:
        try:
            self._renew(step)
        except CardtrailError as error:
            return flow.throw(error)
        return next(flow)

    def _renew(self, step: Renew) -> None:
        patience = 0.0 if step.is_early else max(0.0, step.until - self._session.clock())
        if not self._renewing.acquire(timeout=patience):
            if step.is_early:
                return
            raise Unreachable(_NO_TOKEN)
        try:
            self.run(self._session.renewal(step.round))
        finally:
            self._renewing.release()


def _shortened(request: Request, now: float) -> Request:
    """Return a request that has waited with what is left of its time."""
    return msgspec.structs.replace(request, timeout=min(request.timeout, request.until - now))


def _batches(items: Iterable[S], size: int) -> Iterator[list[S]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch


async def _async_batches(items: Iterable[S] | AsyncIterable[S], size: int) -> AsyncGenerator[list[S], None]:
    if not isinstance(items, AsyncIterable):
        for batch in _batches(items, size):
            yield batch
        return
    gathered: list[S] = []
    async for item in items:
        gathered.append(item)
        if len(gathered) >= size:
            yield gathered
            gathered = []
    if gathered:
        yield gathered
