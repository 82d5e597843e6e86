"""Reading settings: given values win over the environment, that over the defaults of a frozen struct.

Each member of such a struct is `--name` and `PREFIX_NAME`; the sentence that stands under it tells what it means, so
that help, documentation and code cannot differ.
"""

import ast
import inspect
import os
from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple, TypeVar

import msgspec

from cardtrail.errors import SettingError

S = TypeVar("S", bound=msgspec.Struct)


class Described(NamedTuple):
    """A setting as documentation and help show it; `variable` is its name in the environment."""

    name: str
    variable: str
    default: str | int | float | bool
    text: str


def described(kind: type[msgspec.Struct], prefix: str) -> list[Described]:
    """Return every setting of a struct with its default and the sentence that stands under it in its file."""
    [body] = [node.body for node in ast.parse(inspect.getsource(kind)).body if isinstance(node, ast.ClassDef)]
    texts = {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }  # fmt: skip
    defaults = kind()
    names = kind.__struct_fields__
    return [Described(name, prefix + name.upper(), getattr(defaults, name), texts[name]) for name in names]


def read(kind: type[S], prefix: str, given: Mapping[str, object], environment: Mapping[str, str] | None = None) -> S:
    """Return the settings. Raises SettingError naming what is wrong."""
    environment = os.environ if environment is None else environment
    told: dict[str, object] = {
        name: environment[prefix + name.upper()]
        for name in kind.__struct_fields__
        if prefix + name.upper() in environment
    }
    told |= {name: value for name, value in given.items() if value is not None}
    try:
        return msgspec.convert(told, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SettingError(str(error)) from None
