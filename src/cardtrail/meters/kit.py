"""Every metric of the issuer's service. Those of the mirror are as of 15 seconds ago at most."""

from cardtrail.meters.meter import COUNTED, Meter, counter, durations, gauge

_MORE = f"{COUNTED + 1:,} stands for more."

KIT: tuple[Meter, ...] = (
    # ── of the process ──
    gauge(
        "cardtrail_kit_build_info", "1", "Always 1; what runs, and on what.",
        version="the version of cardtrail", engine=("sqlite", "postgres"),
    ),
    counter("cardtrail_kit_answers_total", "calls", "Calls answered by the receiver.", status="HTTP status"),
    durations("cardtrail_kit_answer_seconds", "How long the receiver took for its answers."),
    counter(
        "cardtrail_kit_asked_total", "cards",
        "Cards asked for: compared, how many of these were wrong in the mirror and are repaired, not answered.",
        outcome=("compared", "repaired", "failed"),
    ),
    counter("cardtrail_kit_calls_total", "calls", "Calls to the platform for reconciling."),
    counter(
        "cardtrail_kit_pan_like_lines_total", "lines",
        "Lines of the log in which something like a card number was masked.",
    ),
    gauge("cardtrail_kit_mirror_available", "1", "1 where the mirror could be read for this answer, 0 where not."),
    # ── of the mirror; nothing of it is shown while it cannot be read ──
    gauge("cardtrail_kit_silence_seconds", "seconds", "Since the last message or heartbeat; 0 before the first."),
    gauge("cardtrail_kit_silent", "1", "1 while nothing was heard for longer than usual."),
    gauge("cardtrail_kit_doubtful_cards", "cards", "Open cards of which the mirror is not sure."),
    gauge("cardtrail_kit_doubtful_orders", "orders", f"Orders of which the mirror is not sure. {_MORE}"),
    gauge("cardtrail_kit_last_looks_waiting", "cards", f"Ended cards whose last look is due and waits. {_MORE}"),
    gauge("cardtrail_kit_unanswered_cards", "cards", "Open cards that were not answered when asked for last."),
    gauge("cardtrail_kit_unknown_cards", "cards", "Open cards that the platform did not know when asked for last."),
    gauge(
        "cardtrail_kit_pulled_seconds", "seconds",
        "Since the platform's feed was read to its end; not shown where that never was.",
    ),
    gauge(
        "cardtrail_kit_pass_seconds", "seconds",
        "Since a pass over all cards came to its end; not shown where none ever has.",
    ),
    gauge("cardtrail_kit_pass_open", "1", "1 while a pass over all cards has begun and not ended."),
    gauge(
        "cardtrail_kit_oldest_check_seconds", "seconds",
        "Since the open card was told of or asked for of which that is longest ago; not shown where there is a feed.",
    ),
    gauge(
        "cardtrail_kit_bound_stated_seconds", "seconds",
        "For how long the mirror may be wrong at most, as stated last; not shown before.",
    ),
    gauge(
        "cardtrail_kit_bound_worst_seconds", "seconds",
        "For how long it may have been wrong at most on that day; not shown before.",
    ),
    gauge("cardtrail_kit_sightings", "names", "What the contract does not name and the platform has said."),
    gauge(
        "cardtrail_kit_hook_behind", "changes", "Changes that a hook was not told of yet.", hook="the name of the hook",
    ),
    gauge(
        "cardtrail_kit_hook_told_seconds", "seconds", "Since a hook was told of a change.", hook="the name of the hook",
    ),
)  # fmt: skip
