"""The cases, one module a theme."""
