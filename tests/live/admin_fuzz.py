"""schemathesis against the admin API of a real service: requests made from its own document.

python -m live.admin_fuzz --minutes 5 --seed 1   (make admin-fuzz MINUTES=5 SEED=1)
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from supervised_service import Place, place, wait_until

from pointsman_sched.console.admin.doors import ADDRESS_NAME

TOKEN = "fuzz" * 8
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)


def fuzz(port: int, token: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run schemathesis from a folder of its own, with its answer in words."""
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "run"]
    command += [f"http://127.0.0.1:{port}/openapi.json", "-H", f"Authorization: Bearer {token}"]
    command += ["--checks", ",".join(CHECKS), "--warnings", "off", "--no-shrink", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def api_port(here: Place) -> int:
    """The port of the API, once it is there."""
    file = here.runtime_dir / ADDRESS_NAME
    wait_until(file.exists, "the admin API has a port")
    wait_until(lambda: file.read_text().endswith("\n"), "its address is written")
    return int(file.read_text().rpartition(":")[2])


def main() -> int:
    """Start a service, and fuzz its API for so long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pm-fuzz-") as name, place() as here:
        folder = Path(name)
        here.has_console = True
        config = configured(folder)
        with here.service("--workers", "2", "--config", str(config)) as service:
            service.ready()
            port = api_port(here)
            seconds = str(max(1, int(given.minutes * 60)))
            done = fuzz(port, TOKEN, folder, "--max-time", seconds, "--seed", str(given.seed))
            print(done.stdout + done.stderr)
            return done.returncode


def configured(folder: Path) -> Path:
    """A configuration with a port for the API, and a token that may do everything."""
    tokens, config = folder / "tokens", folder / "config.toml"
    tokens.write_text(f"fuzz change {TOKEN}\n")
    config.write_text(f'[console]\napi_port = 0\napi_tokens_file = "{tokens}"\n')
    for path in (tokens, config):
        path.chmod(0o600)
    return config


if __name__ == "__main__":
    sys.exit(main())
