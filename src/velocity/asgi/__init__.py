"""Python applications in this process: import string, interface, lifespan, the bridge to the core."""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["serve"]


def serve(application: Any, **options: Any) -> int:
    """Serve an application from the main thread until told to stop.

    Args:
        application: speaks ASGI or WSGI; or its name, `module:attribute`, which is imported.
        options: those of `velocity serve`, with underscores: `listen="127.0.0.1:4433"`, `cert=...`, `key=...`,
            `grace_period=10.0`. Without a certificate a self-signed one is made below `root`.

    Returns:
        The exit code.

    Raises:
        ApplicationError: it does not start.
        ConfigError: an option that cannot be; for an application that is not named, `workers` above 1 and `reload`
            are among them, for workers import it.
        StartError: the server could not start.
    """
    # Imports point the other way: a server has applications.
    launch = importlib.import_module("velocity.server.launch")
    code: int = launch.serve_application(application, options)
    return code
