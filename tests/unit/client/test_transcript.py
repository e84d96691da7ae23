"""Reading handshake messages: what they say, and that broken ones are told and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from velocity.client.transcript import MalformedError, read_message


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size) + data


def message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + vector(3, body)


def extension(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2) + vector(2, content)


def server_hello(random: bytes, share: bytes) -> bytes:
    extensions = extension(43, b"\x03\x04") + extension(51, share) + extension(0xABCD, b"???")
    return message(2, b"\x03\x03" + random + vector(1, b"") + b"\x13\x02\x00" + vector(2, extensions))


def test_a_server_hello() -> None:
    read = read_message(server_hello(bytes(32), b"\x11\xec" + vector(2, bytes(1120))))
    assert (read["type"], read["cipher_suite"]) == ("server_hello", "TLS_AES_256_GCM_SHA384")
    assert read["key_share"] == {"group": "X25519MLKEM768", "length": 1120}
    assert read["extensions"][2] == {"type": "0xabcd", "length": 3}


def test_a_hello_retry_request() -> None:
    random = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
    read = read_message(server_hello(random, b"\x00\x1d"))
    assert (read["type"], read["key_share"]) == ("hello_retry_request", {"group": "x25519", "length": 0})


def test_a_certificate() -> None:
    entries = vector(3, b"leaf") + vector(2, b"") + vector(3, b"issuer") + vector(2, b"")
    read = read_message(message(11, vector(1, b"") + vector(3, entries)))
    assert [one["length"] for one in read["certificates"]] == [4, 6]


def test_a_certificate_verify() -> None:
    read = read_message(message(15, b"\xfe\x65" + vector(2, bytes(3381))))
    assert (read["signature_scheme"], read["signature_length"]) == ("ecdsa_secp256r1_sha256_mldsa65", 3381)


def test_a_type_that_nobody_knows() -> None:
    assert read_message(message(99, b"x"))["type"] == "0x63"


@pytest.mark.parametrize(
    "broken", [b"", b"\x02", message(2, b"\x03\x03"), message(20, b"x") + b"y", b"\x0b\x00\x00\x09a"]
)
def test_broken(broken: bytes) -> None:
    with pytest.raises(MalformedError):
        read_message(broken)


@given(st.sampled_from([1, 2, 8, 11, 13, 15, 20]), st.binary(max_size=200))
def test_anything(kind: int, body: bytes) -> None:
    with contextlib.suppress(MalformedError):
        read_message(message(kind, body))
