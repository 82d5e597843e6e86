"""All commands, put together."""

from cyclopts import App

from cardtrail import __version__
from cardtrail.cli.deliver import deliver
from cardtrail.cli.endpoint import endpoint_app
from cardtrail.cli.epoch import epoch_app
from cardtrail.cli.ingest import ingest
from cardtrail.cli.notifications import notifications_app
from cardtrail.cli.party import audit_app, key_app, party_app
from cardtrail.cli.retention import retention_app
from cardtrail.cli.sandbox import sandbox_app
from cardtrail.cli.serve import serve
from cardtrail.cli.status import status

app = App(
    name="cardtrail", version=__version__,
    help="Where is this physical card order really, now?",
)  # fmt: skip
app.command(serve)
app.command(deliver)
app.command(sandbox_app)
app.command(ingest)
app.command(status)
app.command(endpoint_app)
app.command(notifications_app)
app.command(party_app)
app.command(key_app)
app.command(audit_app)
app.command(retention_app)
app.command(epoch_app)
