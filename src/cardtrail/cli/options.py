"""Options made from settings, so that help, settings and documentation cannot differ."""

import inspect
from collections.abc import Collection
from typing import Annotated

from cyclopts import Parameter

from cardtrail.platform.settings import PREFIX, Settings, described


def signature_of(names: Collection[str] = Settings.__struct_fields__) -> inspect.Signature:
    """Return the signature of a command with one option for each of these settings."""
    options = [
        inspect.Parameter(
            setting.name, inspect.Parameter.KEYWORD_ONLY, default=None,
            annotation=Annotated[
                type(setting.default) | None,
                Parameter(help=f"{setting.text} \\[{PREFIX}{setting.name.upper()}; default: {setting.default!r}]"),
            ],
        )
        for setting in described() if setting.name in names
    ]  # fmt: skip
    return inspect.Signature(options, return_annotation=None)
