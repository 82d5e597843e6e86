"""Keys of the terminal: each acts at once, and the terminal is afterwards what it was before."""

import asyncio
import os
import pty
import signal
import termios
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from cardtrail.sandbox import keys as module
from cardtrail.sandbox.keys import listening

PATIENCE = 20.0


class Terminal(NamedTuple):
    """A terminal: our end, at which a test types, and the program's."""

    ours: int
    theirs: int

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())

    @property
    def mode(self) -> list[Any]:
        return termios.tcgetattr(self.theirs)

    @property
    def waits_for_enter(self) -> bool:
        return bool(self.mode[3] & termios.ICANON)

    @property
    def shows_what_is_typed(self) -> bool:
        return bool(self.mode[3] & termios.ECHO)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal that is ours, although no terminal controls a test."""
    monkeypatch.setattr(os, "tcgetpgrp", lambda _file: os.getpgrp())
    opened = Terminal(*pty.openpty())
    try:
        yield opened
    finally:
        for file in opened:
            os.close(file)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not happened():  # noqa: ASYNC110 - the loop tells of no event, it only goes round
            await asyncio.sleep(0)


class Pressed:
    """What was pressed; a test waits for it."""

    def __init__(self) -> None:
        self.keys = asyncio.Queue[str]()
        self.bound = {key: lambda key=key: self.keys.put_nowait(key) for key in "dr"}

    async def next(self) -> str:
        return await asyncio.wait_for(self.keys.get(), PATIENCE)


def test_a_key_acts_without_enter_in_either_letter_case_and_others_do_nothing(terminal: Terminal) -> None:
    async def play() -> None:
        pressed = Pressed()
        with listening(pressed.bound, terminal.theirs):
            for typed, expected in (("d", "d"), ("R", "r"), ("r", "r")):
                terminal.type(typed)
                assert await pressed.next() == expected
        assert pressed.keys.empty()

    asyncio.run(play())


@pytest.mark.parametrize("typed", ["\x1b[D", "\x1b[1;2D", "curl -X GET drdrd", "ü", "x"])
def test_arrow_keys_and_what_is_pasted_act_on_nothing(terminal: Terminal, typed: str) -> None:
    read: list[bytes] = []

    async def play() -> None:
        pressed = Pressed()
        with listening(pressed.bound, terminal.theirs):
            terminal.type(typed)
            await until(lambda: typed.encode() in b"".join(read))
            terminal.type("d")
            assert await pressed.next() == "d"
            assert pressed.keys.empty()

    reading = os.read

    def reads(file: int, most: int) -> bytes:
        read.append(reading(file, most))
        return read[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "read", reads)
        asyncio.run(play())


def test_the_terminal_neither_shows_keys_nor_waits_for_enter_until_the_block_ends(terminal: Terminal) -> None:
    async def play() -> None:
        before = terminal.mode
        with listening({}, terminal.theirs):
            assert not terminal.waits_for_enter
            assert not terminal.shows_what_is_typed
        assert terminal.mode == before

    asyncio.run(play())


@pytest.mark.parametrize("fault", [RuntimeError, asyncio.CancelledError, KeyboardInterrupt])
def test_the_terminal_is_given_back_whatever_happens(terminal: Terminal, fault: type[BaseException]) -> None:
    async def play() -> None:
        before = terminal.mode
        with pytest.raises(fault), listening({}, terminal.theirs):
            raise fault
        assert terminal.mode == before

    asyncio.run(play())


def test_after_the_shell_had_the_terminal_keys_act_at_once_again(terminal: Terminal) -> None:
    async def play() -> None:
        before = terminal.mode
        with listening({}, terminal.theirs):
            termios.tcsetattr(terminal.theirs, termios.TCSADRAIN, before)  # as a shell does when a job is stopped
            os.kill(os.getpid(), signal.SIGCONT)
            await until(lambda: not terminal.waits_for_enter)

    asyncio.run(play())


def test_in_the_background_keys_are_left_to_others_and_act_again_afterwards(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKGROUND_SECONDS", 0.0)

    async def play() -> None:
        pressed = Pressed()
        with listening(pressed.bound, terminal.theirs):
            monkeypatch.setattr(os, "tcgetpgrp", lambda _file: os.getpgrp() + 1)
            terminal.type("d")
            for _ in range(20):
                await asyncio.sleep(0)
            assert pressed.keys.empty()
            assert os.read(terminal.theirs, 10) == b"d"  # it is still there for whom it was meant
            monkeypatch.setattr(os, "tcgetpgrp", lambda _file: os.getpgrp())
            terminal.type("r")
            assert await pressed.next() == "r"

    asyncio.run(play())


def test_in_the_background_the_terminal_is_left_as_the_shell_wants_it(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play() -> None:
        with listening({}, terminal.theirs):
            monkeypatch.setattr(os, "tcgetpgrp", lambda _file: os.getpgrp() + 1)
            mode = terminal.mode
            mode[1] ^= termios.OPOST
            termios.tcsetattr(terminal.theirs, termios.TCSADRAIN, mode)
            os.kill(os.getpid(), signal.SIGCONT)
            for _ in range(20):
                await asyncio.sleep(0)
        assert terminal.mode[1] == mode[1]
        assert not terminal.waits_for_enter

    asyncio.run(play())


def test_a_terminal_that_has_gone_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "tcgetpgrp", lambda _file: os.getpgrp())
    reads: list[int] = []
    reading = os.read

    def read(file: int, most: int) -> bytes:
        reads.append(file)
        return reading(file, most)

    async def play() -> None:
        ours, theirs = pty.openpty()
        with listening({}, theirs):
            monkeypatch.setattr(os, "read", read)
            os.close(ours)
            await until(lambda: theirs in reads)
            for _ in range(20):
                await asyncio.sleep(0)
            assert reads.count(theirs) == 1
        os.close(theirs)

    asyncio.run(play())


def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with open(reading) as piped, open(writing, "w") as sink:  # noqa: PTH123 - descriptors
        monkeypatch.setattr("sys.stdin", piped)
        monkeypatch.setattr("sys.stdout", sink)
        assert not module.has_keys()
