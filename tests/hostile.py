"""Small files that cost much where nothing limits what they cost."""

import io
import struct
import zlib

from PIL import Image


def jpeg_with_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated: each decodes all pixels again."""
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), "gray").save(buffer, "JPEG", progressive=True)
    content = buffer.getvalue()
    last = content.rfind(b"\xff\xda")
    return content[:-2] + content[last:-2] * scans + b"\xff\xd9"


def jpeg_with_segments(count: int) -> bytes:
    """A JPEG of many Exif segments, each joined to all before."""
    buffer = io.BytesIO()
    Image.new("RGB", (50, 50)).save(buffer, "JPEG")
    content = buffer.getvalue()
    return content[:2] + b"\xff\xe1\0\x0aExif\0\0xx" * count + content[2:]


def gif_with_comments(count: int) -> bytes:
    """A GIF of many comments, each joined to all before."""
    head = b"GIF89a" + struct.pack("<HH", 10, 10) + b"\x80\0\0" + b"\0\0\0\xff\xff\xff"
    return head + b"\x21\xfe\x01c\0" * count + b"," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02D\x01\0;"


def _directory(tags: int, size: int) -> list[tuple[int, int, int, int]]:
    return [(1000 + number, 7, size, 8) for number in range(tags)]


def tiff_with_tags(tags: int, size: int) -> bytes:
    """A TIFF of 10 x 10 pixels whose tags all name the same bytes: each is read and kept."""
    entries = [(256, 4, 1, 10), (257, 4, 1, 10), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    entries += [(277, 3, 1, 1), (278, 4, 1, 10), (279, 4, 1, 100), *_directory(tags, size)]
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    content = b"II*\0" + struct.pack("<I", 8) + body
    return content + bytes(max(0, size + 8 - len(content)))


def png_with_tags(tags: int, size: int) -> bytes:
    """The same in the Exif data of a PNG."""
    entries = _directory(tags, size)
    exif = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(struct.pack("<HHII", *each) for each in entries)
    exif += bytes(4 + max(0, size + 8 - len(exif)))
    header = struct.pack(">IIBBBBB", 10, 10, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"eXIf", exif), (b"IDAT", zlib.compress(bytes(310))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
