"""Throwing the switches of a sandbox that runs in another process."""

from typing import Any

from cardtrail.sandbox.call import put
from cardtrail.sandbox.folder import Folder

RECEIVER_PATH = "/receiver"
DROP_PATH = "/drop"


def switch_receiver(folder: Folder, *, up: bool) -> str:
    """Have the receiver of the folder's sandbox up or stopped; return its URL.

    Raises SettingError if no sandbox runs there, Refused, or StoreUnavailable if it does not answer.
    """
    url: str = _put(folder, RECEIVER_PATH, {"up": up})["url"]
    return url


def switch_drop(folder: Folder, share: float) -> int:
    """Have this share of the notifications thrown away; return how many were until now. Raises as above."""
    thrown: int = _put(folder, DROP_PATH, {"share": share})["thrown"]
    return thrown


def _put(folder: Folder, path: str, content: object) -> Any:
    env = folder.read_env()
    return put(env["CONTROL_URL"] + path, env["CONTROL_TOKEN"], content)
