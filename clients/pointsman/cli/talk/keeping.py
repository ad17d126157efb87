"""The folder where sounds are put: new files, whatever lies there already."""

import re
from pathlib import Path

from pointsman.cli.endings import USAGE, Trouble
from pointsman.talking.options import WAV_START

FILES_MAX = 100_000
_UNUSUAL = re.compile(r"[^A-Za-z0-9-]")


class Keeper:
    """Writes sounds; without a folder it writes none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._next: dict[str, int] = {}
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Trouble(f"--out {folder}: {error.strerror}", code=USAGE) from None

    def keep(self, payload: bytes, content_type: str, *words: str) -> Path | None:
        """Write what is a sound, named after these words.  Raises Trouble."""
        is_sound = payload.startswith(WAV_START) or content_type.startswith("audio/")
        if self._folder is None or not is_sound:
            return None
        ending = "wav" if payload.startswith(WAV_START) else "pcm"
        # Words come from others, too: nothing in them may lead out of the folder.
        stem = "-".join(_UNUSUAL.sub("", word)[:32] for word in words if word)
        try:
            return self._write(stem, ending, payload)
        except OSError as error:
            raise Trouble(f"cannot write into {self._folder}: {error.strerror}") from None

    def _write(self, stem: str, ending: str, payload: bytes) -> Path:
        assert self._folder is not None
        for number in range(self._next.get(ending, 1), FILES_MAX):
            path = self._folder / f"{number:04}-{stem}.{ending}"
            try:
                with path.open("xb") as file:
                    file.write(payload)
            except FileExistsError:
                continue
            self._next[ending] = number + 1
            return path
        raise Trouble(f"{self._folder} holds {FILES_MAX:,} sounds already")
