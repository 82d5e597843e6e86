"""The issuer kit: client, receiver, mirror and reconciler of whoever issues the cards."""
