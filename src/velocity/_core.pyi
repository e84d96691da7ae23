"""The data plane: everything that touches packets, and nothing that decides.

Only `velocity.server`, `velocity.asgi`, `velocity.client` and `velocity.telemetry` import this
module. Every call that may wait releases the GIL. Failures raise the tree of `velocity.errors`.
"""

from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
class Workers:
    """The processes of one application, as an `Engine` knows them. Whoever has this starts and watches them.

    `prepare`, start a process, `started`, and once it says that it is ready `admit`; `retire` and, when the process is
    gone, `dismiss`.
    """

    def __new__(cls) -> Workers:
        """No worker yet: requests wait for one."""

    def prepare(self) -> tuple[int, int]:
        """Make room for a worker.

        Returns:
            Its number, and the descriptor that its process has to have for its standard input.

        Raises:
            OSError: there are no descriptors left.
        """

    def started(self, number: int) -> None:
        """Its process is there: the descriptor is closed here."""

    def admit(self, number: int) -> None:
        """It gets requests."""

    def retire(self, number: int) -> None:
        """It gets no more requests, and ends the connection when it has answered those that it has."""

    def dismiss(self, number: int, *, lost: bool) -> None:
        """Its process is gone. Requests that it had not begun go to others.

        Args:
            lost: whether it should not be.
        """

@final
class Worker:
    """This process as a worker, which a `Workers` of another process knows."""

    def __new__(cls) -> Worker:
        """Take standard input, which is the socket of `Workers.prepare`, for oneself.

        Raises:
            OSError: there is none.
        """

    def serve(self, application: Application) -> None:
        """Ask an application what comes.

        Raises:
            OSError: standard input is no socket.
        """

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to be answered, and nothing more will come."""

    def close(self) -> None:
        """End everything."""

def die_with_parent() -> None:
    """Have this process killed when the one that started it ends, however it does."""

@final
class Engine:
    """A running server: listeners, workers and the current snapshot of a Plan."""

    def __new__(cls, plan: str, applications: Mapping[str, Application | Workers] | None = None) -> Engine:
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
        `cache_bypassed:`; and `cache_memory_bytes`. Of applications in processes of their own `workers_alive:NAME`,
        `workers_lost:NAME` and `worker_retries:NAME`.
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

        Keys: `alpn`, `remote`, `tls_version` ("TLSv1.3"), `resumed` (bool), `group` (name), `group_code` (int),
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

@final
class Pool:
    """Connections to many origins, kept for the next request. Threads and event loops share one.

    Blocking calls release the GIL and are interrupted by `KeyboardInterrupt`; `start` and the `a...` methods of an
    `Exchange` are for asyncio. Bodies are as they came: nothing is decoded, followed, remembered or authenticated.
    After `os.fork()` a pool is the parent's alone: in the child every call raises `POOL_FORKED`.
    """

    def __new__(
        cls,
        *,
        protocols: Sequence[_Protocol] | None = None,
        profile: Literal["light", "balanced", "secure"] | None = None,
        fallback: Literal["allow", "directed", "never"] = "allow",
        ca_file: str | None = None,
        insecure: bool = False,
        crl_files: Sequence[str] = ...,
        cert_file: str | None = None,
        key_file: str | None = None,
        alternative_key_file: str | None = None,
        classical_cert_file: str | None = None,
        server_name: str | None = None,
        max_connections: int | None = ...,
        max_keepalive: int | None = ...,
        keepalive: float | None = ...,
        state_dir: str | None = None,
        proxy: str | None = None,
        resolve: dict[tuple[str, int], tuple[str, int]] | None = None,
        discover: bool = True,
        resolver: str | None = None,
    ) -> Pool:
        """Nothing is connected before the first request.

        Args:
            protocols: what may be spoken, preferred first; all four when None. QUIC (`velocity/1`, `h3`) and TCP
                (`h2`, `http/1.1`) are raced, QUIC with a head start; `http://` URLs are HTTP/1.1, or
                HTTP/2 where nothing else is permitted. With others beside it `velocity/1` is offered only where
                something trusted has an ML-DSA key.
            profile: the profile to demand; None lets the server choose.
            fallback: from `velocity/1` to what else is in `protocols`. `allow`: always; `directed`: only where the
                server itself says so with a directive; `never`: `velocity/1` or an error.
            ca_file: PEM roots to trust instead of the system's.
            insecure: accept any certificate (the handshake signature is still checked).
            crl_files: revocation lists, DER or PEM.
            cert_file: chain to show a server that asks for one, PEM; with `key_file`, and for hybrid ones
                `alternative_key_file` (ML-DSA) and `classical_cert_file` (the lean chain for the same key).
            server_name: SNI and the name certificates must bear, for every origin; the host of the URL when None.
            max_connections: open at once, all origins together, 100 when not said; None is no limit.
            max_keepalive: of these, how many may idle, 20 when not said; None is no limit.
            keepalive: seconds that a connection may idle, 30 when not said; None is no limit.
            state_dir: folder (made if missing, 0700) for what outlives the process: Alt-Svc, and which protocol an
                origin spoke last. None keeps that in memory. TLS sessions are resumed as long as the pool lives.
            proxy: `http://[user:password@]host:port`; `https` URLs go through it by CONNECT over TCP, `http` ones in
                absolute form.
            resolve: where to connect instead, by host (lower case) and port, those of alternatives included.
            discover: look for HTTPS records (RFC 9460) and heed Alt-Svc (RFC 7838).
            resolver: `address:port` to ask for HTTPS records; the system's resolvers when None.

        Raises:
            velocity.errors.ConfigError: a file cannot be used, or `OPTION_INVALID`, `PROXY_INVALID`.
        """

    def send(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes | None = None,
        *,
        streaming: bool = False,
        length: int | None = None,
        prefetch: int = 65536,
        connect_timeout: float | None = ...,
        read_timeout: float | None = ...,
        write_timeout: float | None = ...,
        pool_timeout: float | None = ...,
    ) -> Exchange:
        """Send a request and wait for the head of its answer.

        A request on a kept connection that turns out to be dead is sent again where nobody can have acted on it:
        nothing of it was sent, the server refused it (GOAWAY, REFUSED_STREAM, H3_REQUEST_REJECTED), or the method is
        idempotent; never with a streaming body.

        Args:
            method: as it is sent.
            url: `https://` or `http://`, absolute, ASCII (host in A-labels, path and query percent-encoded).
            headers: any case, latin-1. `host` goes first or becomes `:authority`; `content-length` and fields that
                speak of the connection are ours. `user-agent` is added where there is none.
            body: the whole of it; None sends none.
            streaming: the body comes by `Exchange.write`. The call returns at once; `Exchange.wait` waits for the head.
            length: of a streaming body in bytes, where known.
            prefetch: wait for up to so many bytes of the answer's body too, so that `read_all` of a small one does
                not have to; 0 waits for the head only. Failures of the body are raised by whoever reads it.
            connect_timeout: seconds for name, connection and handshake together, all protocols and addresses; 10 when
                not said. None waits for ever, here as below, where it is 30.
            read_timeout: seconds without anything from the server.
            write_timeout: seconds in which nothing of the request could be sent.
            pool_timeout: seconds to wait for a place among `max_connections`.

        Raises:
            velocity.errors.ConfigError: `URL_INVALID`.
            velocity.errors.ConnectError: no connection. `RESOLVE_FAILED`, `CONNECT_FAILED`, `CONNECT_TIMEOUT`,
                `CERTIFICATE_INVALID`, `CERT_PQ_VALIDATION_FAILED` (with `cause` and `link` in its details),
                `HANDSHAKE_FAILED`, `ALPN_REQUIRED`, `PROFILE_POLICY_VIOLATION`, `PROXY_FAILED` (the proxy refused; with
                `status` in its details).
            velocity.errors.RequestError: no complete answer. `POOL_TIMEOUT`, `READ_TIMEOUT`, `WRITE_TIMEOUT`,
                `HEADERS_INVALID` (ours), `HEADERS_TOO_LARGE` (theirs), `PROTOCOL_ERROR` (the server broke the rules),
                `BODY_TRUNCATED`, `CONNECTION_LOST`, `STREAM_RESET`, `POOL_CLOSED`, `POOL_FORKED`,
                `REQUEST_FAILED` (anything else).
        """

    def start(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes | None = None,
        *,
        streaming: bool = False,
        length: int | None = None,
        prefetch: int = 65536,
        connect_timeout: float | None = ...,
        read_timeout: float | None = ...,
        write_timeout: float | None = ...,
        pool_timeout: float | None = ...,
    ) -> Awaitable[Exchange]:
        """`send` for the running asyncio (or uvloop) loop. Begins at once; cancelling it resets the stream."""

    @property
    def connections(self) -> dict[str, int]:
        """How many are `open`, and how many of these are `idle`."""

    def close(self) -> None:
        """Close what idles; what is under way may finish. Later requests raise `POOL_CLOSED`."""

@final
class Exchange:
    """A request and its answer. For one thread or task at a time, except that one may write while another reads."""

    @property
    def status(self) -> int:
        """Of the final answer; interim ones (1xx) are skipped. 0 as long as there is none."""
    @property
    def reason(self) -> str:
        """The registered phrase for the status, or nothing."""
    @property
    def headers(self) -> list[tuple[str, str]]:
        """In order, names in lower case, values as latin-1. Made anew by every look."""
    @property
    def version(self) -> Literal["HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"]: ...
    @property
    def trailers(self) -> list[tuple[str, str]]:
        """Once the body was read to its end; empty before, or where there are none."""
    @property
    def negotiated(self) -> dict[str, Any]:
        """What the connection is. Made anew by every look; empty as long as there is no answer.

        Keys: `alpn` (`velocity/1`, `h3`, `h2`, `http/1.1`), `remote` (`address:port`, the proxy's where there is one),
        `proxy` (bool), `reused` (bool: another request was sent on it before), `fallback` (why not `velocity/1`: the
        server's reason, one of `no_hybrid_cert`, `policy_disabled`, `client_profile`, `client_sigalg`, `draining`; or
        the code of the error that it ended with; `not_offered` where this side did not offer it; None where it is
        spoken), `fallback_message` (str or None). Of TLS, each None under `http://`: `tls_version`, `group`, `profile`
        (of `velocity/1`), `cipher`, `signature_scheme`, `resumed` (bool), `early_data` (bool), `verified` (bool),
        `ml_dsa_level`, `handshake_ms` (float), `round_trips` (int), `certificate_sha256`, `certificate_chain`
        (list[bytes], DER, leaf first).
        """

    def wait(self) -> None:
        """Wait for the head of the answer to a streaming request. Raises what `Pool.send` does."""

    def read(self) -> bytes:
        """The next piece of the body, `b""` at its end.

        Raises:
            velocity.errors.RequestError: `BODY_TRUNCATED`, `READ_TIMEOUT`, `PROTOCOL_ERROR`, `CONNECTION_LOST`,
                `STREAM_RESET`, and `HEADERS_TOO_LARGE` for trailers.
        """

    def read_all(self, limit: int | None = None) -> bytes:
        """What is left of the body, as one.

        Args:
            limit: more bytes than these raise `BODY_TOO_LARGE`, and the exchange is closed.
        """

    def write(self, chunk: bytes) -> bool:
        """Send a piece of a streaming body. Waits while the server takes no more.

        Returns:
            False if the rest is not wanted: the answer is there, or it failed, which `wait` tells.

        Raises:
            velocity.errors.RequestError: `WRITE_TIMEOUT`.
        """

    def finish(self, trailers: list[tuple[str, str]] | None = None) -> None:
        """The streaming body is complete. Never waits."""

    def await_head(self) -> Awaitable[None]:
        """`wait` for asyncio."""

    def aread(self) -> Awaitable[bytes]:
        """`read` for asyncio."""

    def aread_all(self, limit: int | None = None) -> Awaitable[bytes]:
        """`read_all` for asyncio."""

    def awrite(self, chunk: bytes) -> Awaitable[bool]:
        """`write` for asyncio."""

    def close(self) -> None:
        """Want no more of it. Never waits; dropping an exchange does the same.

        Resets a stream that is not at its end (HTTP/1.1: drops its connection).
        """
