"""The byte form of one sample of every message, as tests/golden/ keeps it.

A file holds one block for each form that a message had: a label (a release, or `next` for the
form that is not released yet) and the whole frame in hexadecimal.  Released blocks are never
written again: what an old peer sends must stay readable.

    python tests/wire_golden.py --write           write the `next` blocks that changed
    python tests/wire_golden.py --release 0.1.0   from now on `next` is that release
"""

import argparse
import textwrap
from pathlib import Path

from wire_samples import samples

from pointsman_wire.framing import encode_frame

FOLDER = Path(__file__).resolve().parent / "golden"
NEXT = "next"
PAYLOAD = b"\x00payload\xff"


def frames() -> dict[str, bytes]:
    """The frame of every sample as it is encoded now."""
    return {name: encode_frame(message, PAYLOAD) for name, message in samples().items()}


def read(name: str) -> dict[str, bytes]:
    """Label -> frame, oldest first; empty for a message that has no file yet."""
    path = FOLDER / f"{name}.hex"
    if not path.exists():
        return {}
    blocks = [block.split("\n", 1) for block in path.read_text(encoding="ascii").split("\n\n")]
    return {label: bytes.fromhex(digits) for label, digits in blocks}


def store(name: str, forms: dict[str, bytes]) -> None:
    """Write a file whole."""
    blocks = [
        f"{label}\n" + "\n".join(textwrap.wrap(form.hex(), 96)) for label, form in forms.items()
    ]
    (FOLDER / f"{name}.hex").write_text("\n\n".join(blocks) + "\n", encoding="ascii")


def write_changed() -> list[str]:
    """Bring the `next` blocks up to date; return the names of messages that changed."""
    FOLDER.mkdir(exist_ok=True)
    changed = []
    for name, frame in frames().items():
        forms = read(name)
        released = {label: form for label, form in forms.items() if label != NEXT}
        wanted = released if frame in released.values() else {**released, NEXT: frame}
        if wanted != forms:
            store(name, wanted)
            changed.append(name)
    return changed


def release(label: str) -> None:
    """Turn every `next` into a release."""
    for path in FOLDER.glob("*.hex"):
        forms = read(path.stem)
        if label in forms:
            raise SystemExit(f"{path.name} has a form of release {label} already")
        if NEXT in forms:
            store(path.stem, {label if old == NEXT else old: f for old, f in forms.items()})


def main() -> None:
    """Write or release, as the options say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--write", action="store_true")
    choice.add_argument("--release", metavar="VERSION")
    options = parser.parse_args()
    if options.write:
        print("\n".join(write_changed()) or "nothing changed")
    else:
        release(options.release)


if __name__ == "__main__":
    main()
