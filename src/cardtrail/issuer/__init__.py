"""The issuer's side: client, receiver, mirror, reconciler."""
