"""Pictures that are none, that are damaged, that are something else, and that would take all memory."""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from tests.hostile.battery import EXECUTED, Case, said
from tests.hostile.values import open_socket

from alternet.data.decoding import FORMATS, decode

KINDS = {"JPEG": {}, "PNG": {}, "GIF": {}, "BMP": {}, "TIFF": {}, "WEBP": {}, "PPM": {}, "JPEG2000": {}}
NOT = "it is no whole file of JPEG"
CANNOT = "it cannot be read: ."
READ = r"^read 16 x 16 RGB$"


def encoded(kind: str, picture: Image.Image | None = None, **options: object) -> bytes:
    file = io.BytesIO()
    noise = np.random.RandomState(0).randint(0, 255, (16, 16, 3)).astype(np.uint8)
    (picture or Image.fromarray(noise)).save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *chunks: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def zeros(megabytes: int) -> bytes:
    """So many bytes of nothing, packed a thousandfold."""
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(megabytes)) + packer.flush()


def tiff(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A TIFF of one page with these tags: number, type, count, value."""
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", following)


def page(
    width: int, height: int, *more: tuple[int, int, int, int], at: int = 8
) -> tuple[tuple[int, int, int, int], ...]:
    plain = ((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, at))
    return (*plain, (278, 4, 1, height), (279, 4, 1, width * height & 0xFFFFFFFF), *more)


def overlapping(pages: int) -> bytes:
    """A TIFF whose pages have 65535 tags each, and lie within one another, but for the first."""
    start, tags = 200, 2 + 12 * 65535
    first = tiff(*page(1, 1), following=start)
    body = b"\xff\xff\0\0" * (tags // 4)
    places = [start + 4 * n for n in range(1, pages)]
    return first.ljust(start, b"\0") + body + b"\0" * (tags % 4) + struct.pack(f"<{pages}I", *places, 0)


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("a.png", encoded("PNG"))
    return file.getvalue()


def several(kind: str) -> bytes:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    return encoded(kind, frames[0], save_all=True, append_images=frames[1:])


POSTSCRIPT = (
    f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n(%pipe%touch {EXECUTED}) (w) file\n%%EOF\n"
)

OTHERS: dict[str, bytes] = {
    "PostScript": POSTSCRIPT.encode(),
    "PostScript with a header for DOS": struct.pack("<IIIIIIIH", 0xC6D3D0C5, 32, len(POSTSCRIPT), 0, 0, 0, 0, 0xFFFF)
    + bytes(2)
    + POSTSCRIPT.encode(),
    "PDF": b"%PDF-1.4\n1 0 obj\n<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>\nendobj\n",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="16" height="16"><script>alert(1)</script></svg>',
    "SVG with an external entity": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
    "ImageMagick's MVG": b"push graphic-context\nviewbox 0 0 16 16\nfill 'url(https://example.org/|touch x)'\n",
    "HTML": b"<html><img src=x onerror=alert(1)></html>",
    "a program": b"\x7fELF\x02\x01\x01" + bytes(200),
    "a script": f"#!/bin/sh\ntouch {EXECUTED}\n".encode(),
    "a pickle": b"cos\nsystem\n(S'touch " + EXECUTED.encode() + b"'\ntR.",
    "an archive": archive(),
    "gzip": b"\x1f\x8b\x08" + bytes(50),
    "text": b"not an image",
    "nothing": b"",
    "one byte": b"\x89",
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "random bytes": np.random.RandomState(0).bytes(4096),
    "an icon": encoded("ICO"),
    "a DDS": encoded("DDS"),
    "a PCX": encoded("PCX"),
    "a TGA": encoded("TGA"),
    "an SGI": encoded("SGI"),
    "an IM": b"Image type: RGB image\r\nFile size (no of images): 1\r\n" + bytes(500),
    "a SPIDER": encoded("SPIDER", Image.new("F", (16, 16))),
    "an XBM": encoded("XBM", Image.new("1", (16, 16))),
    "an XPM": b'/* XPM */\nstatic char *x[] = {\n"16 16 1 1",\n"a c #ffffff",\n' + b'"aaaaaaaaaaaaaaaa",\n' * 16,
    "an MSP": encoded("MSP", Image.new("1", (16, 16))),
    "a PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 16, 16, 8, 3) + bytes(100),
    "a FITS": b"SIMPLE  =                    T" + b" " * 2850,
    "a BLP": b"BLP1" + bytes(200),
    "a WMF": b"\xd7\xcd\xc6\x9a" + bytes(200),
    "an EMF": b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(200),
    "an ICNS": b"icns" + struct.pack(">I", 8),
    "a GRIB": b"GRIB" + bytes(3) + b"\1" + bytes(100),
    "an HDF5": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "a BUFR": b"BUFR" + bytes(100),
    "an MPEG": b"\0\0\1\xb3" + bytes(100),
}
"""Files that hold something else, under the name of a picture."""

PARTS: dict[str, tuple[bytes, str]] = {
    "a PNG without a width": (png(0, 16), NOT),
    "a PNG without data": (png(16, 16), CANNOT),
    "a PNG of 3 bits": (png(16, 16, depth=3), f"{CANNOT}|{NOT}"),
    "a PNG of colour type 9": (png(16, 16, colour=9), f"{CANNOT}|{NOT}"),
    "a PNG with a chunk of 2 GB": (png(16, 16)[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT", f"{CANNOT}|{NOT}"),
    "a PNG with a wrong checksum": (png(16, 16).replace(b"IHDR", b"IHDr"), f"{CANNOT}|{NOT}"),
    "a PNG with a text of 200 MB": (png(16, 16, chunk(b"zTXt", b"a\0\0" + zeros(200))), f"{CANNOT}|{NOT}"),
    "a PNG with a profile of 200 MB": (png(16, 16, chunk(b"iCCP", b"a\0\0" + zeros(200))), CANNOT),
    "a PNG with more data than pixels": (png(16, 16, chunk(b"IDAT", zeros(100))), READ),
    "a GIF without a picture": (b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0, 0, 0) + b";", f"{CANNOT}|{NOT}"),
    "a BMP of negative width": (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 70, 0, 54, 40, -16, 16, 1, 24, 0, 0, 0, 0, 0, 0),
        "4294967280 x 16",
    ),
    "a BMP of 5 bits": (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 70, 0, 54, 40, 16, 16, 1, 5, 0, 0, 0, 0, 0, 0),
        f"{CANNOT}|{NOT}",
    ),
    "a TIFF that is its own next page": (tiff(*page(1, 1), following=8), r"read 1 x 1 RGB"),
    "a TIFF of pages within one another": (overlapping(9000), r"read 1 x 1 RGB"),
    "a TIFF of too many of them": (overlapping(11_000), "over 10000 frames, more than 10000; ALTERNET_MAX_FRAMES"),
    "a TIFF with its page behind the end": (b"II*\0" + struct.pack("<I", 10**6), f"{CANNOT}|{NOT}"),
    "a TIFF with its pixels behind the end": (tiff(*page(16, 16, at=10**6)), CANNOT),
    "a TIFF with 65535 tags": (b"II*\0" + struct.pack("<IH", 8, 65535), f"{CANNOT}|{NOT}"),
    "a TIFF of 2 billion samples": (tiff(*page(16, 16, (277, 4, 1, 2**31 - 1))), f"{CANNOT}|{NOT}"),
    "a TIFF with a tag of 4 GB": (tiff(*page(16, 16, (270, 2, 2**32 - 1, 8))), f"{CANNOT}|{NOT}"),
    "a TIFF of floats": (encoded("TIFF", Image.new("F", (16, 16))), "float pixels have no fixed range"),
    "a TIFF of 32 bits": (encoded("TIFF", Image.new("I", (16, 16), 10**6)), "beyond 16 bits"),
    "a PPM of letters": (b"P6\nab cd\n255\n", f"{CANNOT}|{NOT}"),
    "a PPM of a thousand digits": (b"P6\n" + b"9" * 1000 + b" 1\n255\n", f"{CANNOT}|{NOT}"),
    "a JPEG with a turn of 9": (
        encoded("JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x09\0\0\0\0\0\0\0"),
        READ,
    ),
    "a JPEG whose EXIF is noise": (
        encoded("JPEG", exif=b"Exif\0\0" + np.random.RandomState(1).bytes(500)),
        f"{READ}|{CANNOT}",
    ),
    "a WebP that states 4 GB": (b"RIFF" + b"\xff" * 4 + b"WEBPVP8 " + b"\xff" * 4 + bytes(50), f"{CANNOT}|{NOT}"),
    "a JPEG 2000 of nothing": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(50), f"{CANNOT}|{NOT}"),
    "a JPEG 2000 with endless boxes": (
        b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x01jp2h" + b"\xff" * 8,
        f"{CANNOT}|{NOT}",
    ),
}
"""Files that begin well."""

LARGE: dict[str, bytes] = {
    "PNG": png(20_000, 20_000, chunk(b"IDAT", zeros(1144))),
    "PNG of one bit": png(100_000, 100_000, depth=1, colour=0),
    "GIF": b"GIF89a"
    + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
    + b","
    + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
    + b"\2\0;",
    "BMP": b"BM" + struct.pack("<IIIIiiHHIIiiII", 70, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(90),
    "TIFF": tiff(*page(100_000, 100_000)),
    "PPM": b"P6\n30000 30000\n255\n",
    "JPEG": encoded("JPEG").replace(struct.pack(">HH", 16, 16), struct.pack(">HH", 65500, 65500)),
    "WebP": b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f\xff\xff\xff\x0f" + bytes(20),
    "JPEG 2000": encoded("JPEG2000").replace(struct.pack(">II", 16, 16), struct.pack(">II", 60000, 60000)),
}
"""Small files of more pixels than anybody's memory."""


def cut() -> Iterator[Case]:
    """Whole files of every format, and the same cut off at three places."""
    for kind in KINDS:
        whole = encoded(kind)
        yield Case(f"{kind}, whole", whole, READ)
        for part, length in (("magic", 8), ("a third", len(whole) // 3), ("all but a few bytes", len(whole) - 40)):
            yield Case(f"{kind}, cut off behind {part}", whole[:length], f"{CANNOT}|{NOT}")


def special(make: Callable[[Path], object], name: str, line: str) -> Case:
    return Case(name, make, line)


CASES = [
    *(Case(name, content, NOT) for name, content in OTHERS.items()),
    *(Case(name, content, line) for name, (content, line) in PARTS.items()),
    *(Case(f"a {name} of too many pixels", content, r"pixels, more than 67108864; ALTERNET_MAX_PIXELS") for name, content in LARGE.items()),
    *cut(),
    *(
        Case(f"a {kind} of three frames", several(kind), "3 frames, more than 2|over 2 frames, more than 2", environment={"ALTERNET_MAX_FRAMES": "2"})
        for kind in ("PNG", "WEBP", "TIFF")
    ),
    Case("a GIF of three frames", several("GIF"), READ, environment={"ALTERNET_MAX_FRAMES": "2"}),
    Case("a large file", encoded("BMP"), "822 bytes, more than 800; ALTERNET_MAX_IMAGE_BYTES", environment={"ALTERNET_MAX_IMAGE_BYTES": "800"}),
    Case("more pixels than are allowed", encoded("PNG"), "16 x 16 = 256 pixels, more than 255", environment={"ALTERNET_MAX_PIXELS": "255"}),
    Case("just as many pixels as are allowed", encoded("PNG"), READ, environment={"ALTERNET_MAX_PIXELS": "256"}),
    *(
        Case(f"a bound of {text!r}", encoded("PNG"), "ALTERNET_MAX_PIXELS is .*, expected a whole number above 0", text, {"ALTERNET_MAX_PIXELS": text})
        for text in ("0", "-1", "1e6", "many", "９", "9" * 30, "\x1b[2J")
    ),
    special(lambda path: path.mkdir(), "a folder", CANNOT),
    special(lambda path: os.mkfifo(path), "a pipe", "it is a pipe, expected a file"),
    special(open_socket, "a socket", CANNOT),
    special(lambda path: path.symlink_to("/dev/zero"), "zeros without end", "it is a device, expected a file"),
    special(lambda path: path.symlink_to("/dev/full"), "a full device", "it is a device, expected a file"),
    special(lambda path: path.symlink_to("/dev/stdin"), "the standard input", f"{CANNOT}|{NOT}"),
    special(lambda path: path.symlink_to(path), "a link to itself", CANNOT),
    special(lambda path: path.symlink_to("missing"), "a link to nothing", CANNOT),
    special(lambda path: None, "nothing at all", CANNOT),
]  # fmt: skip
"""All pictures."""


def met(case: Case, folder: Path) -> str:
    """What comes of a picture, read as every data set reads it."""
    file = folder / "a.png"
    if isinstance(case.content, bytes):
        file.write_bytes(case.content)
    else:
        case.content(file)

    def read() -> str:
        picture = decode(file)
        return f"read {picture.width} x {picture.height} {picture.mode}"

    return said(read)


assert set(KINDS) == set(FORMATS)
