"""Bytes on the wire to and from core structs; pure."""
