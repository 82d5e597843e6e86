"""Throwing the switches of a sandbox that runs in another process."""

from datetime import timedelta
from typing import Any

from cardtrail.sandbox.call import TIMEOUT, ask
from cardtrail.sandbox.folder import Folder

RECEIVER_PATH = "/receiver"
DROP_PATH = "/drop"


def switch_receiver(folder: Folder, *, up: bool) -> str:
    """Have the receiver of the folder's sandbox up or stopped; return its URL.

    Raises SettingError if no sandbox runs there, Refused, or StoreUnavailable if it does not answer.
    """
    url: str = control(folder, "PUT", RECEIVER_PATH, {"up": up})["url"]
    return url


def switch_drop(folder: Folder, share: float) -> int:
    """Have this share of the notifications thrown away; return how many were until now. Raises as above."""
    thrown: int = control(folder, "PUT", DROP_PATH, {"share": share})["thrown"]
    return thrown


def control(folder: Folder, method: str, path: str, content: object = None, timeout: timedelta = TIMEOUT) -> Any:
    """Call the control of the folder's sandbox; return the answer's JSON.

    Raises SettingError if no sandbox runs there, Refused, or StoreUnavailable if it does not answer.
    """
    env = folder.read_env()
    return ask(method, env["CONTROL_URL"] + path, env["CONTROL_TOKEN"], content, timeout)
