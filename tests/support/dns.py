"""A DNS server on loopback, for SRV and HTTPS records that a test changes (RFC 2782, RFC 9460)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnslib import QTYPE, RCODE, RR, SRV, A, DNSRecord
from dnslib.server import BaseResolver, DNSServer

if TYPE_CHECKING:
    from types import TracebackType


class Dns(BaseResolver):  # type: ignore[misc]
    """Answers with `services`, by name; every target is at 127.0.0.1. Over UDP, on a port of the kernel's choice."""

    def __init__(self) -> None:
        self.services: dict[str, list[tuple[int, int, int, str]]] = {}
        """Priority, weight, port and target."""
        self.origins: dict[str, str] = {}
        """HTTPS records by name, in presentation format."""
        self.ttl = 1
        self.silent = False
        """Whether nobody gets an answer."""
        self.asked = 0
        """How often a service was asked for."""
        self._server = DNSServer(self, address="127.0.0.1", port=0)
        self.port: int = self._server.server.server_address[1]

    def __enter__(self) -> Dns:
        self._server.start_thread()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
        self._server.server.server_close()

    @property
    def address(self) -> str:
        """As `resolver` takes it."""
        return f"127.0.0.1:{self.port}"

    def resolve(self, request: DNSRecord, handler: object) -> DNSRecord:
        """The answer to a query."""
        reply = request.reply()
        name = str(request.q.qname).rstrip(".").lower()
        kind = QTYPE[request.q.qtype]
        if kind == "SRV":
            self.asked += 1
        if self.silent:
            reply.header.rcode = RCODE.SERVFAIL
        elif kind == "SRV" and name in self.services:
            for priority, weight, port, target in self.services[name]:
                reply.add_answer(RR(name, QTYPE.SRV, ttl=self.ttl, rdata=SRV(priority, weight, port, target)))
        elif kind == "HTTPS" and name in self.origins:
            reply.add_answer(*RR.fromZone(f"{name}. {self.ttl} IN HTTPS {self.origins[name]}"))
        elif kind == "A" and name.endswith(".test"):
            reply.add_answer(RR(name, QTYPE.A, ttl=self.ttl, rdata=A("127.0.0.1")))
        elif not name.endswith(".test"):
            reply.header.rcode = RCODE.NXDOMAIN
        return reply
