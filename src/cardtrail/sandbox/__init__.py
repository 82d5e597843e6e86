"""The whole of it in one process for trying out: the platform, and a pretend bank, site and carrier that call it."""
