"""What people look at, for the platform and for an issuer's mirror: pictures, templates and files."""
