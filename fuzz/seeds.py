"""Write the first inputs of every target into `inputs/`: valid ones, from which a fuzzer finds its way."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "inputs"


def number(value: int) -> bytes:
    """RFC 9000 section 16."""
    for log, bits in enumerate((6, 14, 30, 62)):
        if value < 1 << bits:
            return (value | log << bits).to_bytes(1 << log, "big")
    raise ValueError(value)


def frame(kind: int, payload: bytes) -> bytes:
    """RFC 9114 section 7.1."""
    return number(kind) + number(len(payload)) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    """The payload of SETTINGS."""
    return b"".join(number(key) + number(value) for key, value in pairs)


# :method GET, :scheme https, :authority a, :path /; :status 200; trailers "x: y".
GET = b"\0\0\xd1\xd7\x50\x01a\xc1"
POST = b"\0\0\xd4\xd7\x50\x01a\xc1"
OK = b"\0\0\xd9"
TRAILERS = b"\0\0\x21x\x01y"
DYNAMIC = b"\x02\0\xd1\xd7\x50\x01a\xc1\x80"
INSERTS = b"\x3f\x8d\x02\x41a\x01b\xc1\x04/two\x02"
SETTINGS = settings((1, 4096), (6, 65536), (7, 16), (8, 1), (0x33, 1), (0x21 + 0x1F * 7, 5))


def step(kind: int, stream: int, data: bytes = b"") -> bytes:
    """One step of a connection."""
    return bytes([kind, stream, len(data)]) + data


def hello() -> bytes:
    """A ClientHello with the extensions that are looked at."""

    def vector(width: int, data: bytes) -> bytes:
        return len(data).to_bytes(width, "big") + data

    def extension(kind: int, data: bytes) -> bytes:
        return kind.to_bytes(2, "big") + vector(2, data)

    extensions = (
        extension(0, vector(2, b"\0" + vector(2, b"example.org")))
        + extension(16, vector(2, vector(1, b"h3") + vector(1, b"velocity/1")))
        + extension(10, vector(2, b"\x11\xec\x00\x1d"))
        + extension(51, vector(2, b"\x00\x1d" + vector(2, bytes(32))))
        + extension(13, vector(2, b"\x04\x03\x08\x07"))
        + extension(43, vector(1, b"\x03\x04"))
        + extension(0xFE0D, b"\0")
    )
    body = b"\x03\x03" + bytes(32) + vector(1, bytes(32)) + vector(2, b"\x13\x01\x13\x02") + vector(1, b"\0")
    return b"\x01" + vector(3, body + vector(2, extensions))


SEEDS: dict[str, list[bytes]] = {
    "frames": [
        b"\x02" + frame(1, POST) + frame(0, b"abc") + frame(0x40, b"?") + frame(1, TRAILERS),
        b"\x00" + frame(1, b"\0\0\xff\0") + frame(1, OK) + frame(0, b"abc"),
        b"\x05" + frame(1, b"\0\0\xd4\xd7\x50\x01a\xc1\x54\x013") + frame(0, b"abc"),
    ],
    "settings": [SETTINGS, settings((2, 0)), settings((6, 1), (6, 2))],
    "qpack_encoder_stream": [
        b"\x03" + bytes([len(INSERTS)]) + INSERTS + bytes([len(DYNAMIC)]) + DYNAMIC,
        b"\x00\x02\x41a\x06" + b"\x04\0\x10\x80\xc1\xc1" + b"\x04\x01b\x41a" + b"\x02\0\0",
    ],
    "qpack_decoder_stream": [
        bytes.fromhex("00 0003002001210230 0180 0102002001400101 02000148"),
    ],
    "field_section": [GET, DYNAMIC, TRAILERS, b"\x04\0\x80\x81\x10\x40\x01z\x00\x01y\x51\x82\x64\x02\x28abc\x81\x1f"],
    "huffman": [b"\x64\x02", b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", b"\xff\xff\xff\xff", bytes(130)],
    "capsules": [b"\x02" + frame(0, b"abc") + frame(0x4041, b"?" * 80) + frame(1, b"")],
    "connection_server": [
        step(0, 2, b"\0" + frame(4, SETTINGS) + frame(0xF0700, b"\x04u=1, i") + frame(7, b"\0"))
        + step(0, 6, b"\x02" + INSERTS)
        + step(0, 0, frame(1, POST) + frame(0, b"abc"))
        + b"\x0c\x00\x01\x02\x00\x30\x01\x40"
        + b"\x0c\x00\x00\x02\x00\x30\x01\x40"
        + step(0, 10, b"\x03\x80")
        + step(0x40, 4, frame(1, DYNAMIC))
        + b"\x0c\x04\x00\x01\x00\x30"
        + step(10, 0, b"\x01data"),
        step(0, 0, frame(1, DYNAMIC) + frame(0, b"abc"))
        + step(0x40, 4, frame(1, b"\x03\0\x80\x81"))
        + step(0, 8, frame(1, b"\x02\0\x80"))
        + b"\x80\x0c\x00\x03abc"
        + b"\x0b\x08"
        + step(0, 6, b"\x02" + INSERTS)
        + b"\x08\x00\x0c\x09\x00\x0c\x0d\x04\x00\x0e\x08\x00",
    ],
    "connection_client": [
        b"\x0c\x00\x00\x02\x00\x30\x01\x40"
        + step(0, 3, b"\0" + frame(4, SETTINGS))
        + b"\x0c\x04\x02\x02\x00\x30\x01\x40"
        + step(0, 7, b"\x02" + INSERTS)
        + step(0x40, 0, frame(1, b"\0\0\xd8") + frame(1, OK) + frame(0, b"abc") + frame(1, TRAILERS))
        + step(0, 4, frame(1, b"\x02\0\xd9\x80") + frame(0, b"abc"))
        + step(0, 11, b"\x03\x80\x84")
        + b"\x0f\x04\x01"
        + b"\x0c\x08\x03\x00"
        + step(0, 3, frame(7, b"\x08"))
        + b"\x0c\x0c\x00\x00\x08\x04\x0c\x09\x04\x0c",
    ],
    "client_hello": [
        b"\x20" + hello(),
        b"\x16\x03\x01" + len(hello()).to_bytes(2, "big") + hello(),
        b"GET / HTTP/1.1\r\n",
    ],
}


def main() -> None:
    """Write them."""
    for target, inputs in SEEDS.items():
        folder = FOLDER / target
        folder.mkdir(parents=True, exist_ok=True)
        for index, content in enumerate(inputs, 1):
            (folder / f"seed-{index}").write_bytes(content)


if __name__ == "__main__":
    main()
