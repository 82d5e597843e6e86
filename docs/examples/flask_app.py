"""The receiver in Flask, or in any WSGI application. Run it: `flask --app flask_app run`."""

import os

from flask import Flask, request
from flask.typing import ResponseReturnValue

from cardtrail import Mirror, Receiver, Trust
from cardtrail.issuer.way import MAX_BODY

mirror = Mirror.open(os.environ["MIRROR"])  # sqlite:///mirror.db or postgresql://…
trust = Trust(secrets=[os.environ["WEBHOOK_SECRET"]])
receiver = Receiver(mirror, {os.environ["ISSUER_ID"]: trust})

app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = MAX_BODY


@app.post("/notifications/d1/v2/issuers/<issuer_id>/cards")
def cards(issuer_id: str) -> ResponseReturnValue:
    receipt = receiver.receive(request.headers, request.get_data(), issuer_id, peer=request.remote_addr or "")
    return receipt.body, receipt.status, dict(receipt.headers)
