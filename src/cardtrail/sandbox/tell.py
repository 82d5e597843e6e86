"""What people and scripts are told: the curl to paste and `sandbox.env`, both kept working with fresh tokens."""

import asyncio
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

import msgspec
import structlog

from cardtrail.errors import CardtrailError
from cardtrail.issuer.settings import PREFIX
from cardtrail.protocol.token import TOKEN_PATH
from cardtrail.sandbox.admit import ISSUER_ID, PERSON
from cardtrail.sandbox.bank import PULL_SECONDS
from cardtrail.sandbox.call import BASE_PATH, INGEST_PATH, Caller
from cardtrail.sandbox.folder import Folder, default_folder
from cardtrail.sandbox.switch import PAGE_PATH
from cardtrail.sandbox.watch import View

OWN_CARD = "sbx-returned-1"
"""The card that is proposed to be ordered."""

_log = structlog.get_logger()


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is: base URLs, such as `http://127.0.0.1:8080` for the platform, and what opens the control."""

    platform: str
    receiver: str
    mirror: str = ""
    """The pages of the bank's mirror."""
    control: str
    control_token: str
    keys: bool = False
    """Whether the terminal's keys are listened to."""
    password: str = ""
    """What a person logs in to the pages with."""
    elsewhere: str = ""
    """The base URL of the receiver that is notified in place of the bank's own; empty where it is the bank's."""


class Current(msgspec.Struct, frozen=True, kw_only=True):
    """What may be another while the sandbox runs."""

    card_id: str | None = None
    """The card of the curl; None where the bank orders none, and one is proposed."""
    secret: str = ""
    """What a receiver verifies notifications with."""


class Tell:
    """Tells what people and scripts need to know; `current` is looked at every second."""

    def __init__(  # noqa: PLR0913 -- all that there is to tell of
        self, folder: Folder, places: Places, issuer: Caller, producer: Caller, view: View, *,
        current: Callable[[], Current] = Current,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._places = places
        self._root = places.platform
        self._issuer = issuer
        self._producer = producer
        self._view = view
        self._current = current
        self._told = current()

    async def run(self) -> None:
        """Tell everything, then again what is another: the curl with its token or card, and the secret."""
        self._write_env()
        self._view.say(self._welcome())
        while True:
            await asyncio.sleep(1)
            try:
                await self.run_once()
            except (CardtrailError, OSError) as error:  # a full disk too passes
                _log.warning("token_not_renewed", error=str(error))

    async def run_once(self) -> int:
        """Renew what is due, and tell what is another; return how many tokens were renewed. Raises StoreUnavailable."""
        curl_is_old = await self._issuer.renew()
        renewed = int(curl_is_old) + int(await self._producer.renew())
        before, self._told = self._told, self._current()
        if renewed or self._told != before:
            self._write_env()
        if self._told.card_id != before.card_id:
            self._view.say(f"\nThe bank goes on with another card:\n\n{self._curl()}\n")
        elif curl_is_old:
            self._view.say(f"\nA fresh token:\n\n{self._curl()}\n")
        if self._told.secret != before.secret and self._places.elsewhere:
            self._view.say(f"\nA fresh secret, which notifications are signed with now:\n\n{self._secret()}\n")
        return renewed

    @property
    def _card_id(self) -> str:
        return self._told.card_id or OWN_CARD

    def _write_env(self) -> None:
        self._folder.write_env({
            "BASE_URL": self._root + BASE_PATH,
            "TOKEN_URL": self._root + TOKEN_PATH,
            "INGEST_URL": self._root + INGEST_PATH,
            "ISSUER_ID": ISSUER_ID,
            "CARD_ID": self._card_id,
            "ACCESS_TOKEN": self._issuer.token,
            "INGEST_TOKEN": self._producer.token,
            "RECEIVER_URL": self._places.receiver,
            "WEBHOOK_SECRET": self._told.secret,
            "PAGES_URL": f"{self._root}/ui/",
            "MIRROR_PAGES_URL": f"{self._places.mirror}/ui/",
            "PAGES_NAME": PERSON,
            "PAGES_PASSWORD": self._places.password,
            "CONTROL_URL": self._places.control,
            "CONTROL_TOKEN": self._places.control_token,
            **self._kit(),
            "SANDBOX_PID": str(os.getpid()),
        })  # fmt: skip

    def _kit(self) -> dict[str, str]:
        """Return what the issuer kit's commands take from the environment."""
        told = {
            "mirror": self._folder.mirror, "issuer_id": ISSUER_ID, "server": self._root + BASE_PATH,
            "key_file": str(self._folder.key), "kid": self._issuer.party.kid,
        }  # fmt: skip
        return {f"{PREFIX}{name.upper()}": value for name, value in told.items()}

    def _curl(self) -> str:
        path = f"{BASE_PATH}/issuers/{ISSUER_ID}/physicalCards/{self._card_id}/productionStatus"
        return (
            f"curl -X GET {_past_proxy(self._root)}\\\n"
            f'  "{self._root}{path}" \\\n'
            f'  -H "Authorization: Bearer {self._issuer.token}" \\\n'
            '  -H "Accept: application/json"'
        )

    def _welcome(self) -> str:
        return (
            "\ncardtrail sandbox: the platform, and a pretend bank, site and carrier.\n\n"
            f"  base   {self._root}{BASE_PATH}\n"
            f"  pages  {self._root}/ui/ (log in as {PERSON} with {self._places.password})\n"
            f"  mirror {self._places.mirror}/ui/ (the bank's own pages; log in alike)\n"
            f"  docs   {self._root}/docs\n"
            f"{self._receiver()}\n"
            f"  wire   {self._page()} (what crossed it)\n"
            f"  data   {self._folder.path} (sandbox.env for scripts, sandbox.log, cardtrail.db, mirror.db)\n\n"
            f"{self._question()} Paste this, and again some seconds later:\n\n{self._curl()}\n\n"
            "The token is good for 15 minutes; fresh ones come here and in sandbox.env.\n\n"
            "Time runs fast here: a day passes in nine seconds. What happens to cards bears that time, what the bank\n"
            f"heard of it bears yours, and so may come first. {self._time()}\n\n"
            f"{self._switches()}\n\n"
            "Ctrl-C ends the sandbox.\n"
        )

    def _question(self) -> str:
        card_id = self._told.card_id
        return f"The bank orders none: order {OWN_CARD} as below." if card_id is None else f"Where is {card_id}?"

    def _receiver(self) -> str:
        if not self._places.elsewhere:
            return f"  bank   {self._places.receiver} (its receiver)"
        return (
            f"  yours  {self._places.elsewhere} (notified in place of the bank, whose mirror only asks)\n"
            f"{self._secret()}"
        )

    def _secret(self) -> str:
        return f"  secret {self._told.secret} (what you verify with; also WEBHOOK_SECRET in sandbox.env)"

    @property
    def _mine(self) -> str:
        """The option that names this sandbox, where it is not the usual one."""
        return f" --data {shlex.quote(str(self._folder.path))}" if self._folder.path != default_folder() else ""

    def _time(self) -> str:
        pause = "Key p stops it; in another shell:" if self._places.keys else "In another shell:"
        called, card = f"{command()} sandbox", OWN_CARD
        return (
            f"{pause}\n\n"
            f"{called} advance 3d{self._mine}\n"
            f"{called} order {card}{self._mine}      # an id beginning with sbx- picks its story\n"
            f"{called} ship {card}{self._mine}       # deliver, return, fail, hold, release, cancel, scan"
        )

    def _switches(self) -> str:
        mine = self._mine
        press = "Press d, or call" if self._places.keys else "Call"
        stop = "Press r, or call" if self._places.keys else "Call"
        return (
            f"{press} this in another shell, and notifications are lost:\n\n"
            f"{command()} sandbox drop on{mine}\n\n"
            "The platform believes that they arrived. The bank's mirror is wrong until its\n"
            f"reconciler asks the platform, here every {PULL_SECONDS} s. What was missed, for how long:\n\n"
            f"{command()} drift --mirror {shlex.quote(self._folder.mirror)} --issuer-id {ISSUER_ID}\n\n"
            f"{stop} `kill -USR1 {os.getpid()}`: the bank's receiver stops, or starts again.\n"
            "Meanwhile notifications wait, and none is lost.\n\n"
            f"`{command()} sandbox faults` lists what else can go wrong."
        )

    def _page(self) -> str:
        return f"{self._places.control}{PAGE_PATH}?token={self._places.control_token}"


def command() -> str:
    """Return how this program can be called from another shell."""
    called = Path(sys.argv[0]).absolute()
    if called.name != "cardtrail":
        return shlex.join([sys.executable, "-m", "cardtrail"])
    found = shutil.which("cardtrail")
    return "cardtrail" if found is not None and Path(found).absolute() == called else shlex.quote(str(called))


def _past_proxy(root: str) -> str:
    """Return the option without which curl would ask the proxy of this shell for a loopback address."""
    host = root.removeprefix("http://").partition(":")[0]
    if {"http", "all"} & getproxies().keys() and not proxy_bypass(host):
        return f"--noproxy {host} "
    return ""
