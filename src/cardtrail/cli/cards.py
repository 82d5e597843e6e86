"""`cardtrail cards`: the issuer's cards in the mirror: which to expect, where one is, what has changed."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import IO, Any

from cyclopts import App
from rich import progress
from rich.console import Console

from cardtrail.cli.kit import MIRROR, Flag, check_issuer, mirrored
from cardtrail.cli.options import signature_of
from cardtrail.cli.show import plain, print_all, print_json, table_of, when
from cardtrail.cli.where import ACTOR, operator
from cardtrail.errors import InputError
from cardtrail.issuer.expect import cards_of, expect
from cardtrail.issuer.forget import forget
from cardtrail.issuer.hooks import exported
from cardtrail.issuer.mirror import AsyncMirror, Held, wall_clock
from cardtrail.issuer.settings import described, settings_of

cards_app = App(name="cards", help="The issuer's cards in the mirror: which to expect, where one is, what has changed.")


@cards_app.command(name="import")
def import_(file: str, /, **given: Any) -> None:
    """Tell the mirror which cards to expect, so that one whose first notification was lost is missed.

    Parameters
    ----------
    file
        CSV with a header that names cardId, or JSON Lines of objects that have it; orderedAt says when a card was
        ordered, and is needed for one that was ordered again. - is standard input.
    """
    settings = settings_of(given)
    check_issuer(settings)

    async def work(mirror: AsyncMirror) -> int:
        with _opened(file) as lines:
            return await expect(mirror, settings.issuer_id, cards_of(lines, wall_clock()))

    count = mirrored(settings, work, make=True)
    sys.stdout.write(f"{count:,} cards expected\n")


@cards_app.command
def show(card_id: str, /, *, json: Flag = False, **given: Any) -> None:
    """Show where a card is as the mirror has it, how that was learned, and why it is believed.

    Parameters
    ----------
    card_id
        The card.
    json
        Print JSON instead of a table.
    """
    settings = settings_of(given)
    held = mirrored(settings, lambda mirror: mirror.card(settings.issuer_id, card_id))
    if json:
        print_json([_members(each) for each in held])
        return
    if not held:
        print_all(f"nothing is known of {plain(card_id)}")
        return
    for each in held:
        _print(each)


@cards_app.command
def changes(*, after: int = 0, **given: Any) -> None:
    """Print every change of the mirror as JSON Lines, in the order in which they were made.

    Parameters
    ----------
    after
        Only those with a greater number.
    """
    settings = settings_of(given)

    async def work(mirror: AsyncMirror) -> None:
        async for line in exported(mirror, settings.issuer_id, after):
            sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()

    mirrored(settings, work)


@cards_app.command(name="forget")
def forget_(card_id: str, /, *, travelling: Flag = False, json: Flag = False, **given: Any) -> None:
    """Erase tracking numbers, links, places and free texts from all that the mirror keeps of a card.

    It must be settled; where it is, and was, stays, and what is told of its orders later is erased, too. Backups still
    hold it, what hooks were told of it is theirs, and so do PostgreSQL until it has vacuumed and the log of SQLite
    until the last process has stopped.

    Parameters
    ----------
    card_id
        The card.
    travelling
        Also where more may be told of the card.
    json
        Print JSON instead of text.
    """
    settings = settings_of(given)
    actor = os.environ.get(ACTOR) or operator()
    done = mirrored(
        settings, lambda mirror: forget(mirror, settings.issuer_id, card_id, actor, travelling=travelling)
    )._asdict()
    if json:
        print_json(done)
        return
    told = ", ".join(f"{count:,} {name}" for name, count in done.items() if count)
    print_all(f"erased in {told}" if told else "nothing was left to erase")


def _opened(file: str) -> AbstractContextManager[IO[str]]:
    """Open a file of cards, with a progress bar on a terminal. Raises InputError."""
    if file == "-":
        return nullcontext(sys.stdin)
    console = Console(stderr=True)
    try:
        return progress.open(
            file, "r", encoding="utf-8", newline="", description="importing", console=console, transient=True,
            disable=not console.is_terminal,
        )  # fmt: skip
    except OSError as error:
        raise InputError("file", f"{file}: {error.strerror}") from None


def _members(held: Held) -> dict[str, Any]:
    known = held.known
    return {
        "cardId": known.card_id, "operationId": known.operation_id, "operation": known.operation,
        "status": known.operation_status, "stage": known.stage, "shipmentStatus": known.shipment_status,
        "sequence": known.sequence, "learnedAt": known.learned_at, "source": known.source, "why": known.why,
        "doubtful": known.doubtful, "timeline": known.timeline,
    }  # fmt: skip


def _print(held: Held) -> None:
    known = held.known
    doubt = ", DOUBTFUL: it will be asked for" if known.doubtful else ""
    print_all(
        f"order {plain(known.operation_id)}: {plain(known.stage or known.operation_status)}{doubt}",
        f"believed because of: {known.why}; {known.source} of {when(known.learned_at)}",
    )
    table = table_of("what", "happened (UTC)", "learned (UTC)", "told by")
    for step in known.timeline:
        late = f", notified late {when(step.notified_at)}" if step.notified_at else ""
        table.add_row(plain(step.word), when(step.happened_at) or "?", when(step.learned_at), f"{step.told}{late}")
    print_all(table)


for _command in (import_, show, changes, forget_):
    vars(_command)["__signature__"] = signature_of(described(), MIRROR, _command)  # read by inspect.signature
