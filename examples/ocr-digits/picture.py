"""A confusion matrix as a PNG picture, with nothing but the standard library."""

import struct
import zlib

CELL = 28  # pixels
# Digits as five rows of three dots, each row the bits of one figure.
FONT = ["75557", "26227", "71747", "71717", "55711", "74717", "74757", "71122", "75757", "75717"]


def png(rows):
    """Encode rows of (red, green, blue) as PNG: RFC 2083."""
    height, width = len(rows), len(rows[0])

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    raw = b"".join(b"\0" + bytes(v for pixel in row for v in pixel) for row in rows)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def write_number(rows, number, top, left, colour):
    """Write number into the cell at top, left, centred."""
    text = str(number)
    x = left + (CELL - len(text) * 8 + 2) // 2
    y = top + (CELL - 10) // 2
    for figure in text:
        for r, bits in enumerate(FONT[int(figure)]):
            for c in range(3):
                if int(bits) >> (2 - c) & 1:
                    for dy in range(2):
                        for dx in range(2):
                            rows[y + 2 * r + dy][x + 2 * c + dx] = colour
        x += 8


def matrix(counts):
    """Draw counts[was][seen]: rows are digits as written, columns as read."""
    n = len(counts)
    size = (n + 1) * CELL
    rows = [[(255, 255, 255)] * size for _ in range(size)]
    for i in range(n):
        write_number(rows, i, (i + 1) * CELL, 0, (110, 110, 110))
        write_number(rows, i, 0, (i + 1) * CELL, (110, 110, 110))
        most = max(1, sum(counts[i]))
        for j in range(n):
            top, left = (i + 1) * CELL, (j + 1) * CELL
            part = counts[i][j] / most
            right = (int(240 - 210 * part), int(244 - 130 * part), int(250 - 60 * part))
            wrong = (255, int(235 - 150 * part), int(225 - 150 * part))
            fill = right if i == j or not counts[i][j] else wrong
            for y in range(top + 1, top + CELL):
                for x in range(left + 1, left + CELL):
                    rows[y][x] = fill
            if counts[i][j]:
                write_number(rows, counts[i][j], top, left, (255, 255, 255) if i == j and part > 0.5 else (40, 40, 40))
    return png(rows)
