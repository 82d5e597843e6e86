"""The same status endpoint, as other tools answer it."""
