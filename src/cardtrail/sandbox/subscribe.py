"""The pretend bank's endpoint at the platform: where it is notified, and how patiently."""

from contextlib import suppress

from cardtrail.errors import Conflict
from cardtrail.platform.endpoint import Config, Endpoint, EndpointState, Secrets, Signing
from cardtrail.platform.endpoints import Endpoints
from cardtrail.sandbox.admit import ACTOR, ISSUER_ID

ENDPOINT_ID = "demo-bank"
STEPS = "0.05,0.5,1,2,5,10,10,10,10,10,10,10,10,10,10,10"
"""Waits after failures, seconds. The first decides how soon a receiver that is back is noticed: an open circuit tries
it after so long, then ever more seldom, in the end after sixty times as long and a fifth of chance: 3.6 s."""
TIMEOUT = 3
"""Longest call to the receiver, seconds; what a killed sandbox had begun is taken over after twice as long."""
NETWORK = "127.0.0.0/8"
"""Where the demo's platform may call."""


async def subscribe(endpoints: Endpoints, url: str) -> str:
    """Have the demo's issuer notified at `url`; return what its receiver verifies with, another at every start."""
    endpoint = Endpoint(issuer_id=ISSUER_ID, endpoint_id=ENDPOINT_ID, config=Config(url=url))
    with suppress(Conflict):
        return (await endpoints.add(endpoint, Secrets(), ACTOR))[1]
    _, secret = await endpoints.rotate_secret(ISSUER_ID, ENDPOINT_ID, ACTOR, overlap=0, signing=Signing.V1)
    changed = await endpoints.update(endpoint, Secrets(), ACTOR)
    if changed.state is EndpointState.DISABLED:
        await endpoints.enable(ISSUER_ID, ENDPOINT_ID, ACTOR)
    return secret
