"""Damages to `.npz` files: single bits of a zip's headers, and what is none."""


def with_byte(content: bytes, at: int, change) -> bytes:
    return content[:at] + bytes([change(content[at])]) + content[at + 1 :]


def damages(content: bytes) -> dict[str, bytes]:
    """What becomes of a file, by name. Each is refused by other errors of zipfile and numpy."""
    entry = content.rindex(b"PK\x01\x02")  # of the last array, in the zip's directory
    return {
        "encrypted": with_byte(content, entry + 8, lambda flags: flags | 1),
        "another version": with_byte(content, entry + 6, lambda _: 99),
        "another method": with_byte(content, entry + 10, lambda _: 99),
        "another array": with_byte(content, entry + 16, lambda crc: crc ^ 1),
        "cut": content[: len(content) // 2],
        "empty": b"",
        "zeros": bytes(len(content)),
        "a page": b"<html>404</html>",
        "a pickle": b"\x80\x04K\x05.",
    }


NAMES = tuple(damages(b"PK\x01\x02" + bytes(99)))
