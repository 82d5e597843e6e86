"""Who plays along: the demo's parties, registered as any others, with a fresh key at every start."""

import asyncio
from contextlib import suppress

from joserfc.jwk import ECKey

from cardtrail.db import Database
from cardtrail.errors import Conflict
from cardtrail.pages.door.account import ALL as EVERY_ISSUER
from cardtrail.pages.door.account import Role
from cardtrail.pages.door.accounts import Accounts
from cardtrail.pages.door.password import hashed
from cardtrail.platform.auth import wall_clock
from cardtrail.platform.parties import ALL, Parties, Party, PartyKind, PartyState, Rights, new_party
from cardtrail.protocol.token import CURVE, jwk_of
from cardtrail.sandbox.call import Pretender

ISSUER_ID = "DEMO-BANK1"
PRODUCER_ID = "demo-feeder"
ACTOR = "operator:sandbox"
PERSON = "demo"
"""Who may log in to the pages."""


async def admit(db: Database) -> tuple[Pretender, Pretender]:
    """Register the demo's issuer and its producer; what their older keys signed is not believed any more.

    The producer may report from any source, so that scripts can try out sites and carriers of their own.
    """
    parties = Parties(db, wall_clock)
    rights = Rights(issuers=frozenset({ISSUER_ID}), sources=frozenset({ALL}))
    return (
        await _admitted(parties, new_party(PartyKind.ISSUER, ISSUER_ID)),
        await _admitted(parties, new_party(PartyKind.PRODUCER, PRODUCER_ID, rights)),
    )


async def let_in(accounts: Accounts, password: str) -> None:
    """Give a person an account that may see and do all."""
    secret = await asyncio.to_thread(hashed, password)
    try:
        await accounts.add(PERSON, {EVERY_ISSUER: Role.OPERATOR}, secret, ACTOR, personal=True)
    except Conflict:  # an earlier run has registered it
        await accounts.set_password(PERSON, secret, ACTOR)


async def _admitted(parties: Parties, party: Party) -> Pretender:
    with suppress(Conflict):  # an earlier run has registered it
        await parties.add(party, ACTOR)
    if (await parties.find(party.party_id)).state is PartyState.REVOKED:
        await parties.restore(party.party_id, ACTOR)
    for old in await parties.keys(party.party_id):
        if old.state is PartyState.ACTIVE:
            await parties.revoke_key(party.party_id, old.kid, ACTOR)
    key = ECKey.generate_key(CURVE)
    added = await parties.add_key(party.party_id, jwk_of(key), ACTOR)
    return Pretender(party.party_id, added.kid, key)
