"""Every metric of the platform.

Those of the store are of all processes on it, and the same in each: take the greatest, and add nothing.
"""

from cardtrail.meters.meter import COUNTED, Meter, counter, durations, gauge

_MORE = f"{COUNTED + 1:,} stands for more."

PLATFORM: tuple[Meter, ...] = (
    # ── of the process ──
    gauge(
        "cardtrail_build_info", "1", "Always 1; what runs, and on what.",
        version="the version of cardtrail", engine=("sqlite", "postgres"), process=("serve", "deliver"),
    ),
    counter(
        "cardtrail_requests_total", "requests", "Requests answered, the on-demand answer apart.",
        route="the path with its parameters; empty where there is none such", status="HTTP status",
    ),
    durations(
        "cardtrail_request_seconds", "How long requests took, the on-demand answer apart.", route="as above",
    ),
    counter(
        "cardtrail_production_status_answers_total", "answers", "On-demand answers.", status="HTTP status",
    ),
    counter(
        "cardtrail_production_status_slow_total", "answers", "On-demand answers that took longer than 0.25 s.",
    ),
    counter(
        "cardtrail_tokens_total", "requests", "Requests for an access token.",
        result=("issued", "invalid_grant", "invalid_request", "invalid_scope", "unsupported_grant_type"),
    ),
    counter(
        "cardtrail_events_total", "events", "Events that were sent in, by what they were answered.",
        result=("accepted", "duplicate", "rejected"), code="the error code of a rejection; else empty",
    ),
    gauge(
        "cardtrail_events_in_hand", "events", "Events that were sent in and wait for their commit.",
    ),
    counter(
        "cardtrail_delivery_attempts_total", "calls", "Calls to endpoints.",
        result="HTTP status, or what failed where there was none",
    ),
    counter(
        "cardtrail_delivery_carried_total", "notifications", "Notifications in calls to endpoints.", result="as above",
    ),
    durations("cardtrail_delivery_seconds", "How long calls to endpoints took."),
    gauge(
        "cardtrail_delivery_look_age_seconds", "seconds",
        "Since this process looked last for what to send, which it does all the time; only where it delivers.",
    ),
    counter(
        "cardtrail_background_failures_total", "turns", "Turns of the background's work that failed.",
        work="whose turn it was",
    ),
    gauge(
        "cardtrail_registry_age_seconds", "seconds",
        "Since parties and keys were confirmed last; after 10 s nobody is believed any more.",
    ),
    counter(
        "cardtrail_pan_like_lines_total", "lines", "Lines of the log in which something like a card number was masked.",
    ),
    # ── of the store, as of the last look ──
    gauge("cardtrail_store_available", "1", "1 where the last look at the store succeeded, 0 where it failed."),
    gauge(
        "cardtrail_look_age_seconds", "seconds",
        "Since the store was looked at last, which all below is of; every 5 s, if all is well.",
    ),
    gauge("cardtrail_schema_version", "1", "The version of the store's schema."),
    gauge("cardtrail_oldest_pending_seconds", "seconds", "The age of the notification that has waited longest."),
    gauge(
        "cardtrail_overdue_seconds", "seconds",
        "For how long a notification at most is due and not sent, of endpoints that take calls; replays apart.",
    ),
    gauge(
        "cardtrail_notifications", "notifications", f"Notifications that are not delivered. {_MORE}",
        state=("pending", "withheld", "refused", "dead"),
    ),
    gauge(
        "cardtrail_endpoints", "endpoints",
        "Endpoints by how it goes: sent to, tried now and then since calls fail, off.",
        health=("enabled", "failing", "disabled"),
    ),
    gauge(
        "cardtrail_waiting", "rows", f"Cards, parcels and operations that events tell of and no order begins. {_MORE}",
        what=("card", "parcel", "operation"),
    ),
    gauge(
        "cardtrail_waiting_seconds", "seconds", "For how long the oldest of these has waited; 0 where none does.",
        what=("card", "parcel", "operation"),
    ),
    gauge("cardtrail_orders_unconfirmed", "orders", f"Orders that production has not confirmed. {_MORE}"),
    gauge(
        "cardtrail_orders_unconfirmed_seconds", "seconds", "For how long the oldest of these waits; 0 where none does.",
    ),
    gauge(
        "cardtrail_fanouts", "events", f"Events of large parcels that have not reached all their cards. {_MORE}",
    ),
    gauge(
        "cardtrail_retention_overdue_seconds", "seconds",
        "For how long the oldest settled notification should be gone; 0 where none should.",
    ),
)  # fmt: skip

_COUNTED_BY_A_DELIVERER = {
    "cardtrail_build_info", "cardtrail_delivery_attempts_total", "cardtrail_delivery_carried_total",
    "cardtrail_delivery_seconds", "cardtrail_delivery_look_age_seconds", "cardtrail_background_failures_total",
    "cardtrail_pan_like_lines_total",
}  # fmt: skip
DELIVERER = tuple(meter for meter in PLATFORM if meter.name in _COUNTED_BY_A_DELIVERER)
"""What `cardtrail deliver` counts; it shows nothing else, or a 0 that nobody counted would pass for what was seen."""
