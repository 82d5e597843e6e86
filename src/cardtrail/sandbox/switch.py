"""Stopping and starting the bank's receiver of a sandbox that runs in another process."""

import os
import signal
import socket
import time
from urllib.parse import urlsplit

from cardtrail.errors import StoreUnavailable
from cardtrail.sandbox.folder import Folder

PATIENCE = 10.0
"""Longest wait until the receiver is as it should be, seconds."""
PAUSE = 0.05
"""Seconds between two looks."""


def switch(folder: Folder, *, up: bool) -> str:
    """Have the receiver of the folder's sandbox up or stopped, and wait until it is; return its URL.

    Raises SettingError if no sandbox runs there, or StoreUnavailable if it does not obey in time.
    """
    told = folder.read_env()
    url = told["RECEIVER_URL"]
    if _is_up(url) is not up:
        os.kill(int(told["SANDBOX_PID"]), signal.SIGUSR1)
    end = time.monotonic() + PATIENCE
    while _is_up(url) is not up:
        if time.monotonic() > end:
            raise StoreUnavailable(f"the sandbox has not obeyed in {PATIENCE:.0f} seconds; {folder.log} may tell why")
        time.sleep(PAUSE)
    return url


def _is_up(url: str) -> bool:
    place = urlsplit(url)
    try:
        socket.create_connection((place.hostname, place.port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True
