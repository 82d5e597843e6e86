"""Where does a name lead? Each answer is vetted before anybody sees it, and is believed for a second.

A name whose addresses are not all allowed is refused as a whole: who answers for it is not to be trusted with the
rest. The caller connects to the very address that was vetted and never asks again by itself.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address

import msgspec

from cardtrail.platform.address import Networks, objection_to
from cardtrail.platform.target import Target
from cardtrail.protocol.failure import STOPPING, Failure

Resolver = Callable[[str], Awaitable[Sequence[str]]]
"""Returns all addresses of a name as text. Raises OSError."""

REMEMBERED = 1.0
"""Seconds for which a name's addresses are used without asking again."""
MAX_PLACES = 1_024
"""Most hosts whose addresses are remembered."""
MAX_ADDRESSES = 64
"""Most addresses a name may have."""
MAX_THREADS = 32
"""Most threads that wait for the system's resolver. They are our own: a name whose server is silent holds one for
many seconds, and must hold up nothing else."""

_threads = ThreadPoolExecutor(MAX_THREADS, "resolve")


async def system_resolver(host: str) -> Sequence[str]:
    """Return the addresses that the operating system knows for a name. Raises OSError."""
    ask = partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM)
    answers = await asyncio.get_running_loop().run_in_executor(_threads, ask)
    return [str(address[0]) for *_, address in answers]


class Place(msgspec.Struct):
    """Where a host leads: the address to connect to, or a failure and its text."""

    addresses: tuple[str, ...] = ()
    """Every address of the host; each may be called."""
    turn: int = 0
    """Which of them is next. It outlives the second, so that the next try does not fail at the same address."""
    failure: Failure | None = None
    text: str = ""
    until: float = 0.0
    """The moment of the monotonic clock from which it is not believed any more."""

    @property
    def address(self) -> str:
        """The address to connect to."""
        return self.addresses[self.turn % len(self.addresses)]


class Places:
    """Finds and vets the addresses of hosts; `patience` is the longest wait for a resolver, seconds."""

    def __init__(self, allow: Networks, resolve: Resolver, patience: float, clock: Callable[[], float]) -> None:
        self._allow = allow
        self._resolve = resolve
        self._patience = patience
        self._clock = clock
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._tasks: dict[str, asyncio.Task[Place]] = {}

    def remembered(self, host: str, now: float) -> Place | None:
        """Return where a host leads, if that was found less than a second ago; on the hot path."""
        place = self._places.get(host)
        return place if place is not None and now < place.until else None

    async def find(self, target: Target) -> Place:
        """Ask where a host leads. Every failure is a value."""
        task = self._tasks.get(target.host)
        if task is None:
            task = self._tasks[target.host] = asyncio.create_task(self._asked(target))
            task.add_done_callback(lambda _task: self._tasks.pop(target.host, None))
        await asyncio.wait([task])  # unlike awaiting it: others may wait too, so who gives up does not end the question
        return Place(failure=Failure.CLOSED, text=STOPPING) if task.cancelled() else task.result()

    def skip(self, host: str, address: str) -> None:
        """Let the next call go to the host's next address, because nothing was reached at this one."""
        place = self._places.get(host)
        if place is not None and place.addresses and place.address == address:
            place.turn += 1

    async def close(self) -> None:
        """Ask no more."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _asked(self, target: Target) -> Place:
        place = await self._resolved(target)
        before = self._places.pop(target.host, None)
        place.turn = before.turn if before is not None else 0
        place.until = self._clock() + REMEMBERED
        self._places[target.host] = place
        if len(self._places) > MAX_PLACES:
            self._places.popitem(last=False)
        return place

    async def _resolved(self, target: Target) -> Place:
        if target.literal is not None:
            return self._vetted(target.host, [target.host])
        try:
            async with asyncio.timeout(self._patience):
                texts = await self._resolve(target.host)
        except TimeoutError:
            return Place(failure=Failure.DNS, text=f"{target.host}: no answer from the resolver in time")
        except (OSError, ValueError) as error:
            return Place(failure=Failure.DNS, text=f"{target.host}: not found: {error}")
        return self._vetted(target.host, texts)

    def _vetted(self, host: str, texts: Sequence[str]) -> Place:
        """Return the addresses as a place if every one of them may be called."""
        if not 0 < len(texts) <= MAX_ADDRESSES:
            return Place(failure=Failure.DNS, text=f"{host}: {len(texts)} addresses, not 1 to {MAX_ADDRESSES}")
        for text in texts:
            objection = self._objection_to(text)
            if objection is not None:
                known = "" if text == host else f"{host} leads to "
                advice = "such addresses are called only if the setting egress_allow lists them"
                return Place(failure=Failure.REFUSED_ADDRESS, text=f"{known}{text} ({objection}); {advice}")
        return Place(tuple(dict.fromkeys(texts)))

    def _objection_to(self, text: str) -> str | None:
        try:
            return objection_to(ip_address(text), self._allow)
        except ValueError:
            return "not an address"
