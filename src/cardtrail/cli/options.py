"""Options made from settings, so that help, settings and documentation cannot differ."""

import inspect
from collections.abc import Callable, Collection, Iterable
from typing import Annotated

from cyclopts import Parameter

from cardtrail.settings import Described


def signature_of(
    settings: Iterable[Described], names: Collection[str] | None = None, command: Callable[..., object] | None = None
) -> inspect.Signature:
    """Return the signature of a command with one option for each of these settings, or for those of these names.

    What the command itself takes comes first.
    """
    own = [each for each in inspect.signature(command).parameters.values() if each.kind in _OWN] if command else []
    options = [
        inspect.Parameter(
            setting.name, inspect.Parameter.KEYWORD_ONLY, default=None,
            annotation=Annotated[
                type(setting.default) | None,
                Parameter(help=f"{setting.text} \\[{setting.variable}; default: {setting.default!r}]"),
            ],
        )
        for setting in settings if names is None or setting.name in names
    ]  # fmt: skip
    return inspect.Signature([*own, *options], return_annotation=None)


_OWN = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
