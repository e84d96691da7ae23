"""Velocity: a post-quantum web server and client.

Importing this package costs next to nothing; everything heavy is imported where it is used.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
