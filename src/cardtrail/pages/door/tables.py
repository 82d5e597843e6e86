"""The door's tables and queries, as text that a store puts behind its own; `migrations` of that store has them, too."""

from importlib import resources


def _text(name: str) -> str:
    return resources.files("cardtrail.pages.door").joinpath(name).read_text("utf-8")


def queries() -> str:
    """Return the text of every query of the door."""
    return _text("queries.sql")


def schema() -> str:
    """Return the text of the door's tables."""
    return _text("schema.sql")
