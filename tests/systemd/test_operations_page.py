"""The page of operations, executed: its marked blocks, in their order, under a real systemd."""

import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from systemd.booted import ENVIRONMENT, Booted, booted, why_not

REASON = why_not()
needs_systemd = pytest.mark.skipif(bool(REASON), reason=REASON)
DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "operations.md").read_text()
BLOCKS = re.findall(r"<!-- executed[a-z ]* -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
# "One documented path from nothing to a running service in under two minutes."
READY_S = 120


@pytest.fixture
def system() -> Iterator[Booted]:
    with booted() as made:
        made.shell(
            f"cp -r {ENVIRONMENT} {ENVIRONMENT}-next; mkdir -p /run/backups /var/backups\n"
            "mount --bind /run/backups /var/backups\n"
            f"sed -i s,{ENVIRONMENT}/,{ENVIRONMENT}-next/, {ENVIRONMENT}-next/bin/pointsman"
        )
        yield made


def test_every_alert_has_a_line_that_says_what_to_do() -> None:
    rules = (DOCS / "monitoring" / "alerts.yml").read_text()
    named = set(re.findall(r"alert: (\w+)", rules))
    told = set(re.findall(r"^\| `(Pointsman\w+)` \|", PAGE, re.MULTILINE))
    assert named == told


@pytest.mark.systemd
@pytest.mark.slow
@needs_systemd
def test_the_procedures_of_the_page_do_what_they_say(system: Booted) -> None:
    """Install, size, tune, upgrade, roll back, back up, restore, uninstall."""
    assert len(BLOCKS) == 7
    began_s = monotonic()
    prefix = f"export PATH={ENVIRONMENT}/bin:$PATH\n"
    said = [system.shell(prefix + BLOCKS[0])]
    assert monotonic() - began_s < READY_S
    assert "worker-1" in said[0]
    while_running = system.run(
        f"{ENVIRONMENT}/bin/pointsman", "backup", "/tmp/none", may_fail=True, with_errors=True
    )
    assert "the service runs" in while_running
    said += [system.shell(prefix + block) for block in BLOCKS[1:]]
    assert "GOOD MORNING" in said[1]
    assert "worker-2" in said[2]
    assert "all restarted in" in said[3]
    assert "all restarted in" in said[4]
    assert "removed the units" in said[6]
    assert system.segments() == []
