"""Looks for secrets wherever somebody else could come upon them (A6)."""

import resource
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PAGES = ("/metrics", "/healthz", "/ready", "/fleet/")
SEGMENTS = Path("/dev/shm")
PAGE_S = 30


@contextmanager
def cores_wanted() -> Iterator[None]:
    """What is started here could write core files, as in a shell with `ulimit -c unlimited`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


def places_with(
    secrets: Sequence[str], *, instance: str, folders: Sequence[Path], address: str
) -> list[str]:
    """Name files, segments and pages of a service that hold one of the secrets."""
    found = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    segments = list(SEGMENTS.glob(f"pointsman.{instance}.*"))
    assert found
    assert segments
    held = [str(path) for path in [*found, *segments] if _has(path.read_bytes(), secrets)]
    return held + [page for page in PAGES if _has(_page(address, page), secrets)]


def processes_with(secrets: Sequence[str], pids: Sequence[int]) -> list[str]:
    """Name what of these processes others can see that holds a secret, or would hold all."""
    found = [f"/proc/{pid}/{what}" for pid in pids for what in ("cmdline", "environ")]
    held = [name for name in found if _has(Path(name).read_bytes(), secrets)]
    return held + [f"a core file of {pid}" for pid in pids if _writes_cores(pid)]


def _writes_cores(pid: int) -> bool:
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    line = next(line for line in limits if line.startswith("Max core file size"))
    return line.split()[4] != "0"


def _has(data: bytes, secrets: Sequence[str]) -> bool:
    return any(secret.encode() in data for secret in secrets)


def _page(address: str, page: str) -> bytes:
    """Return what is answered, be it that there is nothing for us."""
    try:
        answer = urllib.request.urlopen(f"http://{address}{page}", timeout=PAGE_S)
    except urllib.error.HTTPError as refusal:
        answer = refusal
    with answer:
        data: bytes = answer.read()
    assert data, page
    return data
