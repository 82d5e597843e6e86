"""The issuer kit: client, receiver, mirror, reconciler. For any server of the published contract."""
