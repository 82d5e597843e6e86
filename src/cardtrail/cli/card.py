"""`cardtrail card forget`: erase what a card's orders say of a person's parcel."""

from cyclopts import App

from cardtrail.cli.kit import Flag
from cardtrail.cli.show import grid_of, print_all, print_json
from cardtrail.cli.where import HERE, Where, with_store
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.forget import forget

card_app = App(name="card", help="A card's data in the store.")


@card_app.command(name="forget")
def forget_(card_id: str, /, *, issuer: str, travelling: Flag = False, where: Where = HERE) -> None:
    """Erase tracking numbers, links, places and carriers' words from all that is stored of a card.

    It must have arrived, and its orders are sealed with that; their status stays, and so does their sequence: mirrors
    that have the old picture keep it. A parcel in which other cards travelled stays for these. Backups still hold what
    was erased, and so does PostgreSQL until it has vacuumed.

    Parameters
    ----------
    card_id
        The card.
    issuer
        Whose card it is.
    travelling
        Also where the parcel has not arrived; nothing more is heard of it then.
    """
    done = with_store(
        where, lambda db: forget(db, issuer, card_id, where.actor, wall_clock(), travelling=travelling)
    )._asdict()
    if where.as_json:
        print_json(done)
    else:
        print_all(grid_of(done))
