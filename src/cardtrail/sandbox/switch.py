"""Throwing the switches of a sandbox that runs in another process."""

from datetime import timedelta
from typing import Any
from urllib.parse import quote

from cardtrail.sandbox.call import TIMEOUT, ask
from cardtrail.sandbox.folder import Folder
from cardtrail.sandbox.wire.faults import FaultIn

RECEIVER_PATH = "/receiver"
DROP_PATH = "/drop"
FAULTS_PATH = "/faults"
PAGE_PATH = "/wire"
RECORD_PATH = "/wire.jsonl"
SIGN_PATH = "/sign"
"""Where a notification is signed with the secret of now, to be sent again."""


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


def set_fault(folder: Folder, kind: str, wanted: FaultIn) -> dict[str, Any]:
    """Switch a fault on; return how it stands, as `Fault.told`. Raises as above."""
    told: dict[str, Any] = control(folder, "PUT", f"{FAULTS_PATH}/{quote(kind, safe='')}", wanted)
    return told


def clear_faults(folder: Folder, kind: str | None = None, hop: str | None = None) -> int:
    """Switch a fault off, or all, everywhere or on one hop; return how many were on. Raises as above."""
    path = FAULTS_PATH if kind is None else f"{FAULTS_PATH}/{quote(kind, safe='')}"
    path += "" if hop is None else f"?hop={quote(hop, safe='')}"
    cleared: int = control(folder, "DELETE", path)["cleared"]
    return cleared


def active_faults(folder: Folder) -> list[dict[str, Any]]:
    """Return the faults that are on, each as `Fault.told`. Raises as above."""
    active: list[dict[str, Any]] = control(folder, "GET", FAULTS_PATH)["active"]
    return active


def control(folder: Folder, method: str, path: str, content: object = None, timeout: timedelta = TIMEOUT) -> Any:
    """Call the control of the folder's sandbox; return the answer's JSON. Raises as above."""
    env = folder.read_env()
    return ask(method, env["CONTROL_URL"] + path, env["CONTROL_TOKEN"], content, timeout)
