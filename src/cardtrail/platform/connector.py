"""The production connector: where an accepted order goes. One method, so that anyone can write theirs."""

from importlib import import_module
from typing import Protocol

import msgspec

from cardtrail.errors import SettingError


class CardOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order on its way to production. `encrypted_data` is a compact JWE: hand it on and forget it."""

    operation_id: str
    """The idempotency key: an order that comes again under the same id is the same order."""
    issuer_id: str
    card_id: str
    encrypted_data: str = msgspec.field(default="")
    content: bytes = b""
    """The order as it came, JSON, without `encryptedData`."""

    def __repr__(self) -> str:
        """Leave out what must never reach a log."""
        return f"CardOrder(operation_id={self.operation_id!r})"


class ProductionConnector(Protocol):
    """Brings orders to production. Called outside any transaction, again after a failure, with the same id."""

    async def place(self, order: CardOrder) -> None:
        """Hand the order over; return when production has it. Any exception means "not yet": no order is confirmed."""
        ...


class Acknowledge:
    """The default: writes nothing and only acknowledges."""

    async def place(self, order: CardOrder) -> None:
        """Acknowledge."""


def connector_of(name: str) -> ProductionConnector:
    """Return the connector named `package.module:Class`, made without arguments; empty is the default one."""
    if not name:
        return Acknowledge()
    module, _, member = name.partition(":")
    try:
        made: ProductionConnector = getattr(import_module(module), member)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SettingError(f"connector: {name!r} cannot be made: {error}") from error
    return made
