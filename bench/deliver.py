"""`cardtrail deliver` as a child: a process that only delivers, with the shipped defaults."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.child import SERVER_CORE, pinned, running
from bench.servers import ROOT

EGRESS = {"CARDTRAIL_EGRESS_HTTP": "true", "CARDTRAIL_EGRESS_ALLOW": "127.0.0.0/8"}
"""What a process must be told so that it calls the receivers of a benchmark."""
PROGRAM = str(Path(sys.executable).with_name("cardtrail"))


@contextmanager
def delivering(url: str, secret_key_file: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a deliverer on the server's core while the block lasts."""
    command = [PROGRAM, "deliver", "--database", url, "--secret-key-file", secret_key_file]
    with running(pinned(command, SERVER_CORE), log, EGRESS, ROOT) as process:
        yield process
