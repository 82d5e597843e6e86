"""Receipts: what a call is answered, in a form that every framework takes."""

from collections.abc import Mapping

from msgspec import Struct, field

from cardtrail.errors import CardtrailError
from cardtrail.issuer.standing import Outcome
from cardtrail.protocol.problem import Problem, problem_of

JSON = {"content-type": "application/json"}


class Receipt(Struct, frozen=True, kw_only=True):
    """The answer to a call: HTTP status, headers, body; and what came of it, for whoever keeps count.

    `outcomes` are the mirror's, one for each operation that could be read, in their order. `why` says in one line why
    a call was not taken as it was, or what of it was not; it is for logs and holds nothing of what was sent.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    outcomes: tuple[Outcome, ...] = ()
    why: str = ""


def receipt_of(error: CardtrailError) -> Receipt:
    """Return how an error is answered."""
    return refused(problem_of(error), str(error))


def refused(problem: Problem, why: str) -> Receipt:
    """Return a problem as a receipt."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in problem.headers}
    return Receipt(status=problem.status, headers={**JSON, **headers}, body=problem.body, why=why)
