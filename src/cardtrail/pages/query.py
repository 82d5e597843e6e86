"""Parameters of a query, and what people search for."""

from starlette.requests import Request

from cardtrail.errors import InputError

MAX_QUERY = 128
"""Longest text that is searched for."""


def single(request: Request, name: str) -> str | None:
    """Return a parameter of the query, None where it is not there. Raises InputError where it is there twice."""
    values = request.query_params.getlist(name)
    if len(values) > 1:
        raise InputError(name, "given more than once", "FIELD_INVALID_VALUE")
    return values[0] if values else None


def one_of(request: Request, name: str, default: str, known: tuple[str, ...]) -> str:
    """Return a parameter that is one of some words. Raises InputError naming them."""
    word = single(request, name) or default
    if word not in known:
        raise InputError(name, f"one of {', '.join(known)}", "FIELD_INVALID_VALUE")
    return word


def searched(request: Request, name: str = "q") -> str:
    """Return what is searched for, "" where it is not given. Raises InputError."""
    text = (single(request, name) or "").strip()
    if len(text) > MAX_QUERY or not text.isprintable():
        raise InputError(name, f"at most {MAX_QUERY} characters that can be read", "FIELD_INVALID_VALUE")
    return text
