"""The bank's reconciler: reads the platform's changes now and then, slowly enough that the mirror is seen to be wrong."""

import asyncio

import structlog

from cardtrail.errors import CardtrailError
from cardtrail.issuer.ask import Asker
from cardtrail.issuer.client import AsyncClient
from cardtrail.issuer.lease import held
from cardtrail.issuer.mirror import AsyncMirror
from cardtrail.issuer.reconcile import Reconciler
from cardtrail.sandbox.admit import ISSUER_ID

PULL_SECONDS = 12
"""From one pull to the next. A real bank has no reason to be so slow where the platform has a feed."""

_log = structlog.get_logger()


async def repair(client: AsyncClient, mirror: AsyncMirror) -> None:
    """Pull for ever."""
    while True:
        await asyncio.sleep(PULL_SECONDS)
        try:
            async with held(mirror.db, ISSUER_ID) as fence:
                await Reconciler(Asker(ISSUER_ID, client, mirror, fence, many=True)).pull()
        except CardtrailError as error:
            _log.warning("not_reconciled", error=str(error))
