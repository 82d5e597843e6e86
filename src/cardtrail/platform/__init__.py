"""The tracking service: events in, true state, answers on demand."""
