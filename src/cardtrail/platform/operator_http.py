"""Endpoints over HTTP, for operators: register, look, change, disable and enable, try out, rotate the secret.

Every change is audited under the name of the party that makes it.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from cardtrail.errors import Forbidden, InputError
from cardtrail.pages.query import single
from cardtrail.platform.auth import Principal
from cardtrail.platform.endpoint import ENDPOINT_ID, Endpoint, Signing
from cardtrail.platform.endpoint_form import EndpointIn, ReasonIn, RotationIn, members_of_endpoint
from cardtrail.platform.endpoints import OVERLAP
from cardtrail.platform.parties import ALL, OPERATE
from cardtrail.platform.request import caller_of, checked_issuer, encoded, platform_of, told
from cardtrail.platform.standing import standings
from cardtrail.platform.tryout import try_out
from cardtrail.platform.vet import checked_reason, vetted


async def list_endpoints(request: Request) -> Response:
    """Answer the endpoints of one issuer, or of all that are the operator's business."""
    caller = caller_of(request, OPERATE)
    endpoints = platform_of(request).endpoints
    issuer_id = single(request, "issuerId")
    if issuer_id is not None:
        if not caller.may_act_for(issuer_id):
            raise Forbidden("the token does not allow this")
        found = await endpoints.list_all(checked_issuer(issuer_id))
    elif ALL in caller.issuers:
        found = await endpoints.list_all()
    else:
        found = await endpoints.list_of(caller.issuers)
    return encoded({"endpoints": [members_of_endpoint(each) for each in found]})


async def add_endpoint(request: Request) -> Response:
    """Register an endpoint; its signing secret is told only here."""
    caller, issuer_id, _ = _asked(request)
    platform = platform_of(request)
    wanted = await told(request, EndpointIn)
    if wanted.endpoint_id is None:
        raise InputError("endpointId", "is required")
    endpoint = Endpoint(issuer_id=issuer_id, endpoint_id=wanted.endpoint_id, config=wanted.config(Signing.V1))
    given = wanted.secrets()
    endpoint = vetted(endpoint, given, allow_http=platform.settings.egress_http)
    added, secret = await platform.endpoints.add(endpoint, given, _actor(caller))
    return encoded(await _members(request, added) | ({"signingSecret": secret} if secret else {}), 201)


async def find_endpoint(request: Request) -> Response:
    """Answer one endpoint, which secrets it has, and how it goes there."""
    _, issuer_id, endpoint_id = _asked(request)
    return encoded(await _members(request, await platform_of(request).endpoints.find(issuer_id, endpoint_id)))


async def put_endpoint(request: Request) -> Response:
    """Give an endpoint another configuration; a secret that is not given stays."""
    caller, issuer_id, endpoint_id = _asked(request)
    platform = platform_of(request)
    wanted = await told(request, EndpointIn)
    if wanted.endpoint_id not in (None, endpoint_id):
        raise InputError("endpointId", "cannot be changed", "FIELD_INVALID_VALUE")
    before = await platform.endpoints.find(issuer_id, endpoint_id)
    config = wanted.config(before.config.signing)
    endpoint = Endpoint(issuer_id=issuer_id, endpoint_id=endpoint_id, config=config)
    given = wanted.secrets()
    endpoint = vetted(endpoint, given, allow_http=platform.settings.egress_http)
    changed = await platform.endpoints.update(endpoint, given, _actor(caller), dropped=wanted.dropped())
    return await _changed(request, changed)


async def disable_endpoint(request: Request) -> Response:
    """Send nothing there any more; what waits, and what comes, is withheld."""
    caller, issuer_id, endpoint_id = _asked(request)
    reason = checked_reason((await told(request, ReasonIn)).reason)
    endpoints = platform_of(request).endpoints
    return await _changed(request, await endpoints.disable(issuer_id, endpoint_id, reason, _actor(caller)))


async def enable_endpoint(request: Request) -> Response:
    """Send there again, beginning with the newest picture of each order that was withheld."""
    caller, issuer_id, endpoint_id = _asked(request)
    return await _changed(request, await platform_of(request).endpoints.enable(issuer_id, endpoint_id, _actor(caller)))


async def test_endpoint(request: Request) -> Response:
    """Call an endpoint now, from this process, with no operation; answer what came of it."""
    _, issuer_id, endpoint_id = _asked(request)
    platform = platform_of(request)
    return encoded(await try_out(platform.db, platform.endpoints, platform.egress, issuer_id, endpoint_id))


async def rotate_secret(request: Request) -> Response:
    """Make a new signing secret, told only here; the old one signs beside it for a while."""
    caller, issuer_id, endpoint_id = _asked(request)
    wanted = await told(request, RotationIn, optional=True)
    overlap = OVERLAP if wanted.overlap_seconds is None else wanted.overlap_seconds
    endpoints = platform_of(request).endpoints
    changed, secret = await endpoints.rotate_secret(
        issuer_id, endpoint_id, _actor(caller), overlap=overlap, signing=wanted.signing
    )
    return encoded(await _members(request, changed) | {"signingSecret": secret})


def _asked(request: Request) -> tuple[Principal, str, str]:
    """Return who calls, and the ids in the path. Raises InputError, or as caller_of."""
    issuer_id = request.path_params["issuer_id"]
    endpoint_id = request.path_params.get("endpoint_id", "")
    caller = caller_of(request, OPERATE, issuer_id=issuer_id)
    checked_issuer(issuer_id)
    if "endpoint_id" in request.path_params and not ENDPOINT_ID.fullmatch(endpoint_id):
        raise InputError("endpointId", "1 to 40 of A-Z a-z 0-9 _ -")
    return caller, issuer_id, endpoint_id


def _actor(caller: Principal) -> str:
    return f"party:{caller.party_id}"


async def _changed(request: Request, endpoint: Endpoint) -> Response:
    """Let the deliverer look at once, and answer the endpoint as it is now."""
    platform_of(request).deliverer.wake()
    return encoded(await _members(request, endpoint))


async def _members(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    platform = platform_of(request)
    _, secrets = await platform.endpoints.find_with_secrets(endpoint.issuer_id, endpoint.endpoint_id)
    standing = (await standings(platform.db, endpoint.issuer_id)).get(endpoint.endpoint_id)
    return members_of_endpoint(endpoint, secrets, standing)
