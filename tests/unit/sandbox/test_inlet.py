"""An inlet, from the endpoint to the receiver; what passes it, `test_hired` and the tests of the wire show."""

import asyncio
from pathlib import Path

import pytest

from cardtrail.errors import InputError, NotFound
from cardtrail.sandbox.inlet import Inlet
from cardtrail.sandbox.scene import Scene, scene_in
from cardtrail.sandbox.stage import Script


def inlet_of(scene: Scene, url: str) -> Inlet:
    return Inlet(url, "one", endpoints=scene.stage.platform.endpoints, faults=scene.stage.faults, recorder=None)


def test_it_is_an_endpoint_from_its_opening_on(tmp_path: Path) -> None:
    async def opened() -> None:
        async with scene_in(tmp_path, Script(paused=True)) as scene:
            inlet = inlet_of(scene, "http://127.0.0.1:1")
            with pytest.raises(NotFound):
                await inlet.signing()
            secret = await inlet.open()
            assert await inlet.signing() == (secret,)
            assert inlet.held == 0
            await inlet.close()

    asyncio.run(opened())


def test_one_that_was_never_opened_can_be_closed(tmp_path: Path) -> None:
    async def opened() -> None:
        async with scene_in(tmp_path, Script(paused=True)) as scene:
            await inlet_of(scene, "http://127.0.0.1:1").close()
            with pytest.raises(InputError, match="url"):
                inlet_of(scene, "ftp://127.0.0.1")

    asyncio.run(opened())
