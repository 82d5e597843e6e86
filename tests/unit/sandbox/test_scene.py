"""Where a scene's lines go, and that it ends with what it serves; what can be done on it, `test_hired` shows."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from cardtrail.errors import InputError
from cardtrail.platform.endpoints import MAX_ENDPOINTS
from cardtrail.sandbox.scene import _lasting, lines_to_logging, scene_in
from cardtrail.sandbox.stage import Script


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Leave structlog as it was."""
    before, was = structlog.get_config(), structlog.is_configured()
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    if was:
        structlog.configure(**before)


def test_lines_go_to_logging_for_as_long_as_it_lasts(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with lines_to_logging(), caplog.at_level(logging.WARNING):
        structlog.get_logger().warning("tried_again", error="no wonder")
        structlog.get_logger().info("request")
    assert [record.getMessage() for record in caplog.records] == ["event='tried_again' error='no wonder'"]
    assert capsys.readouterr().out == ""
    assert not structlog.is_configured()


def test_a_program_that_has_configured_structlog_keeps_what_it_has() -> None:
    logger = structlog.testing.CapturingLogger()
    structlog.configure(logger_factory=lambda *_: logger, processors=[])
    with lines_to_logging():
        structlog.get_logger().warning("mine")
    assert structlog.is_configured()
    assert logger.calls


def test_a_program_that_configures_structlog_meanwhile_keeps_what_it_has() -> None:
    factory = structlog.ReturnLoggerFactory()
    with lines_to_logging():
        structlog.configure(logger_factory=factory)
    assert structlog.get_config()["logger_factory"] is factory


def test_a_platform_that_stops_by_itself_breaks_the_scene() -> None:
    async def watched() -> None:
        await _lasting(asyncio.create_task(asyncio.sleep(0)))

    with pytest.raises(RuntimeError, match="the platform has stopped by itself"):
        asyncio.run(watched())


def test_more_receivers_than_an_issuer_has_endpoints_are_refused(tmp_path: Path) -> None:
    async def opened() -> None:
        async with scene_in(tmp_path, Script(paused=True)) as scene:
            for number in range(MAX_ENDPOINTS):
                assert await scene.notify(f"http://127.0.0.1:{number + 1}")
            with pytest.raises(InputError, match="url: at most 20 receivers"):
                await scene.notify("http://127.0.0.1:99")

    asyncio.run(opened())
