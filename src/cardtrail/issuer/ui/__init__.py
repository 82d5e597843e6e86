"""What people look at: pages of an issuer's mirror, and what they read of it."""
