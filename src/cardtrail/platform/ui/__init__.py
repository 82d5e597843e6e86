"""What people look at: pages of the platform, and what they read of the store."""
