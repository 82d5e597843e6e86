"""The wire between platform, issuer, sites and carriers: what goes wrong on it on purpose, and a record of it."""
