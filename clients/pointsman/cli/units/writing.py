"""Makes the unit files of an installation out of those that come along.

Those that come along are whole unit files for an environment in /opt/pointsman, and are checked as
they stand; what an installation has other is replaced word by word.  A user's own systemd may not
do what needs rights, so there such settings are left out.
"""

import re
from pathlib import Path

import msgspec

from pointsman_wire.sockets.tcp import join_address

PYTHON = "/opt/pointsman/bin/python"
PLACES = "--state-dir /var/lib/pointsman/default --runtime-dir /run/pointsman/default"
ADDRESS = "--host 127.0.0.1 --port 7400"
SERVICE_FILES = (
    "pointsman.target",
    "pointsman.slice",
    "pointsman.socket",
    "pointsman-name.socket",
    "pointsman-prepare.service",
    "pointsman-manager.service",
    "pointsman-worker@.service",
    "pointsman-console.service",
)
TLS_FILE = "pointsman-tls.socket"
NODE_FILE = "pointsman-node@.service"
NODE_STATE = "/var/lib/pointsman-node"
NODE_OFFERS = "/etc/pointsman"
NETWORK = re.compile(r"(Wants|After)=network-online.target\n")
# Needs rights, or a mount namespace, that a user's systemd does not have.
NOT_FOR_USERS = re.compile(
    r"(User|Group|CapabilityBoundingSet|AmbientCapabilities|Protect\w+|Private\w+|DevicePolicy"
    r"|ReadWritePaths|RemoveIPC|OOMScoreAdjust|KeyringMode|StateDirectory\w*|RuntimeDirectory\w*"
    r"|LoadCredential|LimitNOFILE|Nice)=.*\n"
)
# In the wheel they lie beside this module, in a checkout in a folder of their own.
FILE_PLACES = (
    Path(__file__).with_name("files"),
    Path(__file__).parents[4] / "systemd",
)


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What is different from the files that come along."""

    python: Path
    environment: dict[str, str] = {}
    worker_count: int = 2
    host: str = "127.0.0.1"
    port: int = 7400
    config: Path | None = None
    tls_place: str = ""  # address and port of the TLS port; "" where there is none
    tls_key: str = ""  # a file of the configuration, that root alone need read
    is_open: bool = False  # beyond this machine, without TLS and tokens
    service_user: str = ""  # an existing one, instead of one of its own
    service_group: str = ""
    admin_group: str = ""  # an existing one that may ask or order, instead of one of its own
    state_dir: str = ""  # of a user's service or node
    is_users: bool = False
    is_in_home: bool = False  # the environment is: it must be visible


def text_of(name: str) -> str:
    """Return a file that comes along."""
    for place in FILE_PLACES:
        if (place / name).is_file():
            return (place / name).read_text(encoding="utf-8")
    raise AssertionError(f"{name} is missing in this installation")


def users_text(installation: Installation) -> str:
    """Return what sysusers.d reads: the group of operators, and the service's user if it has none
    of its own."""
    text = text_of("pointsman.sysusers")
    if installation.service_user:
        words = f"# Runs as {installation.service_user}, who was there.\n"
        text = re.sub(r"(?m)^# A system user.*\nu .*\n", words, text)
    return text


def directories_text(installation: Installation) -> str:
    """Return what tmpfiles.d reads: directories, and the group that the admin sockets are of."""
    text = text_of("pointsman.tmpfiles")
    if installation.admin_group:
        text = text.replace("pointsman-admin", installation.admin_group)
    if installation.service_user:
        user, group = installation.service_user, installation.service_group
        text = re.sub(r"(?m)^(d \S+ \d+) pointsman ", rf"\1 {user} ", text)
        text = text.replace(f"{user} pointsman ", f"{user} {group} ")
    return text


def service_unit(name: str, installation: Installation) -> str:
    """Return the text of one of SERVICE_FILES for this installation."""
    text = _fit(text_of(name), installation)
    places, address = PLACES, f"--host {installation.host} --port {installation.port}"
    if installation.is_users:
        places = f"--state-dir {installation.state_dir} --runtime-dir %t/pointsman/default"
    if installation.config is not None:
        places += f" --config {installation.config}"
    if installation.is_open and "pointsman_sched.ground" in text:
        address += " --insecure-plaintext"
    count = installation.worker_count
    text = text.replace("--workers 2", f"--workers {count}")
    text = text.replace(PLACES, places).replace(ADDRESS, address)
    text = text.replace("127.0.0.1:7400", join_address(installation.host, installation.port))
    if installation.tls_place:
        text = _with_tls(text, installation)
    # Above the share at which a worker feels short of memory by itself.
    return text.replace("MemoryMax=40%", f"MemoryMax={min(90, 20 + 80 // (count + 1))}%")


def tls_unit(installation: Installation) -> str:
    """Return the text of TLS_FILE for this installation."""
    return text_of(TLS_FILE).replace("0.0.0.0:7443", installation.tls_place)


def _with_tls(text: str, installation: Installation) -> str:
    """Let workers have the TLS port as well, and the key of its certificate."""
    text = text.replace("Sockets=pointsman.socket\n", f"Sockets=pointsman.socket {TLS_FILE}\n")
    text = text.replace(
        "manager.service pointsman.socket\n", f"manager.service pointsman.socket {TLS_FILE}\n"
    )
    if installation.tls_key and not installation.is_users and "Sockets=" in text:
        credential = f"LoadCredential=POINTSMAN_TLS_KEY:{installation.tls_key}\n"
        text = text.replace("LoadCredential=", f"{credential}LoadCredential=", 1)
    return text


def node_unit(installation: Installation, offers: str = "") -> str:
    """Return the template of nodes; `offers` is where a user's files say what each offers."""
    text = _fit(text_of(NODE_FILE), installation)
    if installation.is_users:
        text = text.replace(NODE_STATE, installation.state_dir).replace(NODE_OFFERS, offers)
        text = NETWORK.sub("", text)
    return text


def _fit(text: str, installation: Installation) -> str:
    text = text.replace(PYTHON, str(installation.python))
    lines = [f"Environment={name}={value}\n" for name, value in installation.environment.items()]
    text = text.replace("[Service]\n", "".join(["[Service]\n", *lines]))
    if installation.is_users:
        text = NOT_FOR_USERS.sub("", text).replace("multi-user.target", "default.target")
        return text.replace("After=network.target\n", "")
    if installation.service_user:
        text = re.sub(r"(?m)^User=.*$", f"User={installation.service_user}", text)
        text = re.sub(r"(?m)^Group=.*$", f"Group={installation.service_group}", text)
    if installation.is_in_home:
        text = text.replace("ProtectHome=yes", "ProtectHome=read-only")
    return text
