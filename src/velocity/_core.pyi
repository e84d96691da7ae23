"""The data plane: everything that touches packets, and nothing that decides.

Only `velocity.server`, `velocity.asgi`, `velocity.client` and `velocity.telemetry` import this
module. Every call that may wait releases the GIL. Failures raise the tree of `velocity.errors`.
"""

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, final

from velocity.errors import VelocityError

__version__: str
"""Version of the native core; equals the version of the Python package."""

_Protocol: TypeAlias = Literal["velocity/1", "h3", "h2", "http/1.1"]

def configure_logging(format: Literal["json", "text"], level: int, color: bool) -> None:
    """Set up the one logger of the process; it writes to stderr.

    Args:
        format: one JSON object or one line of text a record.
        level: 0 warnings only, 1 info (the default before the first call), 2 debug, 3 trace,
            4 trace including the libraries below us.
        color: ANSI colours in text format.
    """

def log(
    level: Literal["error", "warn", "info", "debug", "trace"],
    target: str,
    event: str,
    message: str,
    fields: dict[str, Any],
) -> None:
    """Write one record through the logger that the engine uses.

    Args:
        target: `velocity::server`, `velocity::proxy`, `velocity::edge` or `velocity::tls`.
        event: short snake_case name of what happened.
        message: a sentence for people; may be empty.
        fields: further JSON-compatible values.
    """

def flush_logs() -> None:
    """Wait until every record so far is written."""

def check(plan: str) -> None:
    """Find out whether a Plan could be served, short of listening.

    Args:
        plan: canonical JSON as `velocity.config.Plan.to_json()` writes it.

    Raises:
        velocity.errors.ConfigError: the Plan is not valid, or what it says cannot be: `TEMPLATE_INVALID`,
            `TEMPLATE_MISSING`, `WAF_RULE_INVALID`, `ROUTE_INVALID`, `HEADER_INVALID`, `NETWORK_INVALID` and others.
        velocity.errors.StartError: a certificate, folder or file that it names cannot be read.
    """

def problems(plan: str) -> list[VelocityError]:
    """Everything that is wrong with a Plan, as far as that can be told without its certificates.

    Args:
        plan: canonical JSON as `velocity.config.Plan.to_json()` writes it.

    Returns:
        The errors that `check` would raise one by one. Their `details` say where: `place` is the name of a route or
        `filters[N]`, `text` what cannot be (and `offset`, in characters, from where on), `file` what cannot be read,
        or with `line` and `column` what is broken; `reason` is the message without the place.
    """

def certificate_facts(chain_file: str) -> dict[str, Any]:
    """Facts of the first certificate in a PEM file, without importing `cryptography`.

    Returns:
        `{"sha256": str (lower-case hex), "names": list[str], "not_before": int, "not_after": int,
        "ml_dsa_level": str or None}`, times in Unix seconds, the level that of its alternative key.

    Raises:
        velocity.errors.StartError: the file cannot be read or holds no certificate.
    """

def parse_fallback(text: str) -> dict[str, Any] | None:
    """Read a fallback directive as it stands in the field `Velocity-Fallback`.

    Returns:
        `{"reason": str, "alpn": str, "host": str or None, "port": int or None}`; None where it is no directive.
    """

def code_point_name(kind: Literal["group", "cipher", "signature_scheme"], code: int) -> str:
    """The name of a code point of TLS, in the IANA registry or the specification of Velocity/1; else `0x1234`.

    Raises:
        velocity.errors.ConfigError: another kind.
    """

def can_verify_hybrid(ca_file: str | None = None) -> bool:
    """Whether any of these roots (None: the system's) has an ML-DSA key, without which no hybrid chain passes.

    Raises:
        velocity.errors.ConfigError: `ca_file` cannot be used.
    """

def verify_classical(chain: list[bytes], host: str, ca_file: str | None = None) -> str | None:
    """Verify the classical signatures, name and time of a chain, whatever else it has.

    Args:
        chain: DER, leaf first.
        host: the name or address it must be for.
        ca_file: PEM roots; None is the system's.

    Returns:
        None where it passes, else why not.

    Raises:
        velocity.errors.ConfigError: `ca_file` cannot be used.
    """

@final
class Application:
    """An ASGI application that an `Engine` can ask. Everything here is for the thread of its event loop.

    Requests come through a file descriptor, which the loop has to watch: when it is readable, `deliver` makes a task of
    each that has come.
    """

    def __new__(
        cls,
        run: Callable[[Any, dict[str, Any]], Any],
        spawn: Callable[[Any], Any],
        event_loop: AbstractEventLoop,
        *,
        state: dict[str, Any] | None = None,
        limit: int | None = None,
        enough: Callable[[], None] | None = None,
    ) -> Application:
        """Nothing happens before an engine has it and the loop watches `fileno()`.

        Args:
            run: called with a request and its scope; gives a coroutine. A request has `receive`, `send`,
                `is_gone`, `target` (method and path), and `finish()`, which has to be called at the end, and says what
                was wrong with the answer, if anything.
            spawn: makes a task of a coroutine.
            event_loop: the running one.
            state: that of the lifespan; each scope gets a copy.
            limit: after so many requests, `enough` is called.
        """

    def fileno(self) -> int:
        """Readable when there is something for `deliver`."""

    def deliver(self) -> None:
        """Begin the requests that have come, and wake who waits."""

    def flush(self) -> None:
        """Hand over to the engine what was answered. `deliver` and whatever is answered later see to it."""

    @property
    def running(self) -> int:
        """Requests that were begun and not finished."""

@final
class Engine:
    """A running server: listeners, workers and the current snapshot of a Plan."""

    def __new__(cls, plan: str, applications: dict[str, Application] | None = None) -> Engine:
        """Check the Plan, load its certificate, bind its listeners and start serving.

        Args:
            plan: canonical JSON as `velocity.config.Plan.to_json()` writes it.
            applications: those that routes of the Plan name, now or after a `reload`.

        Raises:
            velocity.errors.ConfigError: the Plan is not valid.
            velocity.errors.StartError: a port in use, an unreadable root, key and certificate
                that do not belong together. Nothing is left listening.
        """

    @property
    def addresses(self) -> list[str]:
        """Bound addresses, one a listener, with the real port (`127.0.0.1:49152`)."""

    def reload(self, plan: str) -> None:
        """Swap the snapshot; open connections finish on the old one. On error nothing changes."""

    def stop(self) -> None:
        """Begin a graceful stop: accept nothing new, GOAWAY, finish what is in flight. Returns at once."""

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a stop to complete; True when it has."""

    def abort(self) -> None:
        """End every connection now. Returns when the workers are gone."""

    def counters(self) -> dict[str, int]:
        """Every counter by name: `connections_open`, `connections_total`, `requests_in_flight`, `requests_total`,
        `handshakes_failed`, `pq_validation_failures`; and by protocol, profile and reason `handshakes:h3`,
        `profiles:balanced` (of `velocity/1`), `downgrades:client_profile`; `rate_limited_total`, and
        `waf_hits:GROUP` for the groups `sqli`, `xss`, `traversal`, `command`, `scanner` and `custom`. Of proxies with a
        cache, by the name of the route, `cache_hits:ROUTE`, `cache_misses:`, `cache_stale:`, `cache_revalidated:` and
        `cache_bypassed:`; and `cache_memory_bytes`.
        """

@final
class Connection:
    """One client connection over one protocol.

    Blocking; other threads run while it waits. `KeyboardInterrupt` interrupts every call.
    """

    def __new__(
        cls,
        host: str,
        port: int,
        *,
        protocols: list[_Protocol],
        profile: Literal["light", "balanced", "secure"] | None = None,
        connect_to: tuple[str, int] | None = None,
        server_name: str | None = None,
        ca_file: str | None = None,
        insecure: bool = False,
        crl_files: list[str] = ...,
        cert_file: str | None = None,
        key_file: str | None = None,
        alternative_key_file: str | None = None,
        classical_cert_file: str | None = None,
        transcript: bool = False,
        timeout: float = 10.0,
    ) -> Connection:
        """Resolve, connect and finish the handshake.

        Args:
            host: name or IP address of the server, which its certificate must bear.
            protocols: offered by ALPN, preferred first; all over UDP, or all over TCP.
            profile: the profile to demand; None lets the server choose. Groups offered follow it.
            connect_to: where to connect instead, still as `host`.
            server_name: SNI and the name the certificate must bear; `host` when None.
            ca_file: PEM roots to trust instead of the system's.
            insecure: accept any certificate (the handshake signature is still checked).
            crl_files: revocation lists, DER or PEM; what they revoke is not accepted.
            cert_file: chain to show a server that asks for one, PEM; hybrid, with `key_file` its classical key.
            alternative_key_file: its ML-DSA key.
            classical_cert_file: a lean chain for the same key, for servers without `velocity/1`.
            transcript: record the messages of the handshake.
            timeout: seconds for connecting and the whole handshake, all addresses together.

        Raises:
            velocity.errors.ConfigError: `ca_file` cannot be used.
            velocity.errors.ConnectError: no address answered, or the handshake failed. `code` is one of
                `RESOLVE_FAILED`, `CONNECT_FAILED`, `CONNECT_TIMEOUT`, `ALPN_REQUIRED`,
                `CERTIFICATE_INVALID`, `HANDSHAKE_FAILED`, `PROFILE_POLICY_VIOLATION`, or
                `CERT_PQ_VALIDATION_FAILED` with `cause` and `link` in its details. A server that refuses
                `velocity/1` with a directive leaves that in `details["fallback"]`.
        """

    @property
    def facts(self) -> dict[str, Any]:
        """What was negotiated, read from the TLS state.

        Keys: `alpn`, `remote`, `tls_version` ("TLSv1.3"), `group` (name), `group_code` (int),
        `profile` (str or None), `cipher` (IANA name), `signature_scheme` (name), `signature_scheme_code`
        (int), `round_trips` (int: flights of this handshake that waited for an answer, TCP's own included, and over
        QUIC one that a server without an address validation token needs for a long chain), `handshake_ms`
        (float, from the first packet), `handshake_bytes` (over QUIC: UDP payload sent and received until it was
        done; else None), `certificate_sha256`, `certificate_chain` (list[bytes], DER),
        `verified` (bool), `ml_dsa_level` (str or None: what the chain rests on where both of its signatures
        were verified).
        """

    @property
    def transcript(self) -> list[tuple[Literal["client", "server"], bytes]]:
        """Who sent which message of the handshake, in order and with headers (RFC 9846 section 4), from the first
        ClientHello to the client's Finished. Empty unless it was asked for, and over TCP.
        """

    @property
    def fallback(self) -> dict[str, Any] | None:
        """The directive on the server's control stream, if one has come by now; as `parse_fallback` gives it."""

    def request(
        self,
        method: str,
        path: str,
        headers: list[tuple[str, str]],
        body: bytes | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Send one request and wait for the response head.

        Args:
            path: origin form (`/a?b`).
            headers: without `host` (added from the connection unless given) and `content-length`.
            timeout: seconds without progress before `REQUEST_TIMEOUT`; None waits for ever.

        Raises:
            velocity.errors.RequestError: `REQUEST_TIMEOUT`, `REQUEST_FAILED`, `HEADERS_INVALID`.
        """

    def close(self) -> None:
        """Close politely; further requests fail."""

@final
class Response:
    """A response head and its body, read chunk by chunk."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> list[tuple[str, str]]:
        """In order, names in lower case, bytes beyond ASCII as latin-1."""

    def read(self) -> bytes | None:
        """The next chunk of the body, None at its end.

        Raises:
            velocity.errors.RequestError: the body ended early (`BODY_TRUNCATED`) or timed out.
        """
