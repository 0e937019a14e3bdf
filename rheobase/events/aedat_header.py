"""The readable lines that AEDAT files begin with."""

from pathlib import Path

END = b"#!END-HEADER"


def header(data: bytes, path: Path, version: str) -> tuple[list[bytes], int]:
    """The header's lines, without their ends, and the offset of what follows them.

    The first line is #!AER-DAT and the version. The header ends before the first line that does not begin
    with #, or after #!END-HEADER (version 3).

    Raises ValueError where there is no such header, it is of another version, or it does not end.
    """
    magic = f"#!AER-DAT{version}".encode()
    if not data.startswith(magic):
        found = data[: len(magic)].decode("ascii", "replace")
        raise ValueError(
            f"{path}: expected an AEDAT {version} file, which begins {magic.decode()} at offset 0, "
            f"got {found!r}{'' if data else ', an empty file'}."
        )
    lines: list[bytes] = []
    at = 0
    while data[at : at + 1] == b"#" and lines[-1:] != [END]:
        end = data.find(b"\n", at)
        if end < 0:
            raise ValueError(f"{path}: truncated in the header: the line at offset {at} does not end.")
        lines.append(data[at:end].rstrip(b"\r"))
        at = end + 1
    return lines, at
