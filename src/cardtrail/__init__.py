"""cardtrail: where is this physical card order really, now? Platform, issuer kit and sandbox in one package."""

__version__ = "0.1.0"
