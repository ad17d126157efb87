"""The page of operations, executed: its marked blocks, in their order, under a real systemd.

The new operator's path is part of it: install, enrol a node of another network over TLS, watch it
on the dashboard, drain it, upgrade.  The other host is a network namespace inside the systemd.
"""

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
PREFIX = f"export PATH={ENVIRONMENT}/bin:$PATH\n"
# The other host: its node is a unit of this systemd, but has the network of the namespace.
OTHER_HOST = """
ip netns add attic
ip link add to-attic type veth peer name to-server netns attic
ip addr add 10.77.0.1/24 dev to-attic
ip link set to-attic up
ip -n attic addr add 10.77.0.2/24 dev to-server
ip -n attic link set to-server up
mkdir -p /etc/systemd/system/pointsman-node@attic.service.d
printf '[Service]\\nNetworkNamespacePath=/run/netns/attic\\n' \\
  > /etc/systemd/system/pointsman-node@attic.service.d/elsewhere.conf
"""


@pytest.fixture
def system() -> Iterator[Booted]:
    with booted() as made:
        made.shell(
            f"cp -a {ENVIRONMENT} {ENVIRONMENT}-next; mkdir -p /run/backups /var/backups\n"
            "mount --bind /run/backups /var/backups\n"
            f"sed -i s,{ENVIRONMENT}/,{ENVIRONMENT}-next/, {ENVIRONMENT}-next/bin/pointsman\n"
            + OTHER_HOST
        )
        yield made


def test_every_alert_has_a_line_that_says_what_to_do() -> None:
    rules = (DOCS / "monitoring" / "alerts.yml").read_text()
    named = set(re.findall(r"alert: (\w+)", rules))
    told = set(re.findall(r"^\| `(Pointsman\w+)` \|", PAGE, re.MULTILINE))
    assert named == told


@pytest.mark.systemd
@pytest.mark.long
@needs_systemd
def test_the_procedures_of_the_page_do_what_they_say(system: Booted) -> None:
    """Install, size, tune, a node over TLS, upgrade, roll back, back up, restore, uninstall."""
    assert len(BLOCKS) == 11
    began_s = monotonic()
    assert "worker-0" in system.shell(PREFIX + BLOCKS[0])
    assert monotonic() - began_s < READY_S
    while_running = system.run(
        f"{ENVIRONMENT}/bin/pointsman", "backup", "/tmp/none", may_fail=True, with_errors=True
    )
    assert "the service runs" in while_running
    assert "GOOD MORNING" in system.shell(PREFIX + BLOCKS[1])
    assert "worker-1" in system.shell(PREFIX + BLOCKS[2])
    walk_to_the_other_host(system)
    for block in BLOCKS[7:9]:  # the upgrade, and back
        assert "all restarted in" in system.shell(PREFIX + block)
    system.shell(PREFIX + BLOCKS[9])
    assert "removed the units" in system.shell(PREFIX + BLOCKS[10])
    assert system.segments() == []
    assert system.shell("ss -ltnH 'sport = :7400 or sport = :7443'") == ""


def walk_to_the_other_host(system: Booted) -> None:
    """Open the TLS port, enrol a node there, give it a job, watch it, drain it."""
    said = system.shell(PREFIX + BLOCKS[3])
    secret = re.search(r"^enrol-\S+$", said, re.MULTILINE)
    pin = re.search(r"sha256:\S+", said)
    assert secret, said
    assert pin, said
    assert "tls://10.77.0.1:7443" in said
    answers = f"PIN={pin[0]}\nexec <<< {secret[0]}\n"
    system.shell(PREFIX + answers + BLOCKS[4])
    said = system.shell(PREFIX + BLOCKS[5])
    assert "OVER TLS" in said
    assert "\nattic" in said, "on the dashboard, over HTTPS"
    assert "10.77.0.1:7443" in system.shell("ip netns exec attic ss -tnH state established")
    assert system.shell("stat -c %a:%U /etc/pointsman/server.key") == "400:root"
    assert re.search(r"attic.*draining", system.shell(PREFIX + BLOCKS[6]))
