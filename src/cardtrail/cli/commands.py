"""All commands, put together: where each is, and the extra of the package that it needs.

A command's module is imported when the command is called, so that each works with its own extra alone, and soon.
"""

from cyclopts import App

from cardtrail import __version__

ISSUER, PLATFORM, SANDBOX = "issuer", "platform", "sandbox"
COMMANDS = {
    "serve": ("cardtrail.cli.serve:serve", PLATFORM),
    "deliver": ("cardtrail.cli.deliver:deliver", PLATFORM),
    "examine": ("cardtrail.cli.examine:examine", SANDBOX),
    "sandbox": ("cardtrail.cli.sandbox:sandbox_app", SANDBOX),
    "reconcile": ("cardtrail.cli.reconcile:reconcile", ISSUER),
    "drift": ("cardtrail.cli.drift:drift", ISSUER),
    "issuer": ("cardtrail.cli.issuer:issuer_app", ISSUER),
    "cards": ("cardtrail.cli.cards:cards_app", ISSUER),
    "ingest": ("cardtrail.cli.ingest:ingest", PLATFORM),
    "status": ("cardtrail.cli.status:status", PLATFORM),
    "endpoint": ("cardtrail.cli.endpoint:endpoint_app", PLATFORM),
    "notifications": ("cardtrail.cli.notifications:notifications_app", PLATFORM),
    "party": ("cardtrail.cli.party:party_app", PLATFORM),
    "key": ("cardtrail.cli.party:key_app", PLATFORM),
    "account": ("cardtrail.cli.account:account_app", PLATFORM),
    "audit": ("cardtrail.cli.party:audit_app", PLATFORM),
    "card": ("cardtrail.cli.card:card_app", PLATFORM),
    "retention": ("cardtrail.cli.retention:retention_app", PLATFORM),
    "config": ("cardtrail.cli.config:config", ISSUER),
    "doctor": ("cardtrail.cli.doctor:doctor", PLATFORM),
    "backup": ("cardtrail.cli.backup:backup", PLATFORM),
    "restore": ("cardtrail.cli.backup:restore_", PLATFORM),
    "epoch": ("cardtrail.cli.epoch:epoch_app", PLATFORM),
}
"""Name -> where it is, and the extra without which it cannot be imported."""


def app_of() -> App:
    """Return the command line; nothing but itself is imported."""
    app = App(
        name="cardtrail", version=__version__,
        help="Where is this physical card order really, now?",
    )  # fmt: skip
    for name, (place, _) in COMMANDS.items():
        app.command(place, name=name)
    return app


def load(app: App) -> None:
    """Import every command, so that a page can list what each does; one whose extra is missing says so instead."""
    for name, (_, extra) in COMMANDS.items():
        try:
            app[name]
        except ImportError as error:
            if missing_of(error) is None:
                raise
            del app[name]
            app.command(App(name=name, help=f"Needs pip install 'cardtrail[{extra}]'."))


def missing_of(error: ImportError) -> str | None:
    """Return the package that is not installed; None where the fault is in the program itself."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ModuleNotFoundError) and cause.name and not cause.name.startswith("cardtrail"):
            return cause.name
        cause = cause.__cause__
    return None


app = app_of()
