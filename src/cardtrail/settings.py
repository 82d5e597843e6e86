"""Reading settings: given values win over the environment, that over the defaults of a frozen struct.

Each member of such a struct is `--name` and `PREFIX_NAME`; the sentence that stands under it tells what it means, so
that help, documentation and code cannot differ.
"""

import ast
import inspect
import os
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from enum import StrEnum
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


class Source(StrEnum):
    """Where a setting's value comes from."""

    OPTION = "option"
    ENVIRONMENT = "environment"
    DEFAULT = "default"


class Effective(NamedTuple):
    """A setting as it is in force; no password is in `value`."""

    name: str
    variable: str
    value: str | int | float | bool
    source: Source


class Unknown(NamedTuple):
    """A variable that no setting reads; `nearest` is a known name like it, "" where none is."""

    variable: str
    nearest: str


_PASSWORD_IN_URL = re.compile(r"(://[^/@:?#]*):.*@")
_PASSWORD_PARAMETER = re.compile(r"(password=)[^&\s]*", re.IGNORECASE)


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


def effective(
    kind: type[msgspec.Struct], prefix: str, given: Mapping[str, object], environment: Mapping[str, str] | None = None
) -> list[Effective]:
    """Return every setting as it is in force, with where it comes from. Raises SettingError naming what is wrong."""
    environment = os.environ if environment is None else environment
    values = read(kind, prefix, given, environment)

    def source_of(name: str) -> Source:
        if given.get(name) is not None:
            return Source.OPTION
        return Source.ENVIRONMENT if prefix + name.upper() in environment else Source.DEFAULT

    return [
        Effective(name, prefix + name.upper(), masked(getattr(values, name)), source_of(name))
        for name in kind.__struct_fields__
    ]


def masked(value: str | float) -> str | float:
    """Return a value without the passwords that a URL can hold; rather too much goes than too little."""
    if not isinstance(value, str):
        return value
    return _PASSWORD_PARAMETER.sub(r"\1***", _PASSWORD_IN_URL.sub(r"\1:***@", value))


def unknown(prefix: str, known: Collection[str], environment: Mapping[str, str] | None = None) -> list[Unknown]:
    """Return the variables that begin with `prefix` and are none of the `known` ones, by name."""
    environment = os.environ if environment is None else environment
    strays = sorted(name for name in environment if name.startswith(prefix) and name not in known)
    tails = {name.removeprefix(prefix): name for name in known}  # or any two names would be alike by their prefix
    nearest = [get_close_matches(name.removeprefix(prefix), tails, 1) for name in strays]
    return [Unknown(name, tails[near[0]] if near else "") for name, near in zip(strays, nearest, strict=True)]
