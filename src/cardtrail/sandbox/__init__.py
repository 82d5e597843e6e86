"""The whole of it in one process for trying out: the platform, and a pretend bank, sites and carriers that call it."""
