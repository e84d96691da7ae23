"""The servers under test: how each is started, and nothing of how it is measured."""

from suite.contestants.applications import Granian, Hypercorn
from suite.contestants.base import Contestant, Setup, Unavailable
from suite.contestants.caddy import Caddy
from suite.contestants.configured import Configured
from suite.contestants.nginx import Nginx
from suite.contestants.proxies import Haproxy
from suite.contestants.raw import Raw, RawQuinn
from suite.contestants.uvicorn import Uvicorn
from suite.contestants.velocity import Velocity

__all__ = [
    "Caddy",
    "Configured",
    "Contestant",
    "Granian",
    "Haproxy",
    "Hypercorn",
    "Nginx",
    "Raw",
    "RawQuinn",
    "Setup",
    "Unavailable",
    "Uvicorn",
    "Velocity",
]
