"""`python -m pointsman_sched.doctor`: what `pointsman doctor` becomes.

Exit codes: 0 nothing is bad, 1 something is, 2 wrong usage or configuration.
"""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pointsman_sched.doctor.judging import Finding, Verdict, judge
from pointsman_sched.doctor.looking import look
from pointsman_sched.manager.redis_options import redis_of
from pointsman_shm.config import Config
from pointsman_shm.config_load import ConfigError, load_config
from pointsman_shm.logs.saying import answer, say
from pointsman_shm.paths import PathError, resolve_paths
from pointsman_wire.places import PlaceError, check_instance, default_runtime_dir


def main(arguments: Sequence[str]) -> int:
    """Look, judge, tell."""
    parser = argparse.ArgumentParser(prog="pointsman doctor", allow_abbrev=False)
    parser.add_argument("--config", type=Path, default=None)
    parser.add_argument("--instance", default=None)
    parser.add_argument("--state-dir", default=None)
    parser.add_argument("--runtime-dir", default=None)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    try:
        config = load_config(given.config)
        findings = examine(config, given)
    except (ConfigError, PathError, PlaceError) as error:
        say("pointsman doctor", str(error))
        return 2
    is_bad = any(finding.verdict is Verdict.BAD for finding in findings)
    if given.json:
        told = {"bad": is_bad, "findings": msgspec.to_builtins(findings)}
        answer(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        answer("\n".join(_lines(findings)))
    return 1 if is_bad else 0


def examine(config: Config, given: argparse.Namespace) -> list[Finding]:
    """Return the findings.  Raises ConfigError, PathError or PlaceError."""
    instance = given.instance or config.server.instance
    check_instance(instance)
    directories = config.directories
    paths = resolve_paths(
        instance,
        state_dir=given.state_dir or directories.state_dir,
        runtime_dir=given.runtime_dir
        or directories.runtime_dir
        or str(default_runtime_dir(instance)),
        environment=os.environ,
        user_id=os.geteuid(),
    )
    facts = look(config, paths, host=config.server.host, port=config.server.port)
    trouble, is_fatal = asyncio.run(_meet_redis(config))
    return judge(msgspec.structs.replace(facts, redis=trouble, redis_is_fatal=is_fatal))


async def _meet_redis(config: Config) -> tuple[str | None, bool]:
    """Return (what is wrong, whether a process would refuse to start with it)."""
    settings = redis_of(config.redis, os.environ)
    if settings is None:
        return None, False
    from pointsman_wire.coordination.backing import RedisBacking
    from pointsman_wire.coordination.connection import NotReached
    from pointsman_wire.coordination.reach.server import Unfit

    backing = RedisBacking(settings)
    try:
        await backing.open()
    except Unfit as error:
        return str(error), True
    except NotReached as error:
        return str(error), False
    finally:
        await backing.close()
    return "", False


def _lines(findings: Sequence[Finding]) -> list[str]:
    lines = []
    for finding in findings:
        lines.append(f"{finding.verdict.value:<5} {finding.name:<14} {finding.words}")
        if finding.todo:
            lines.append(f"{'':<20} -> {finding.todo}")
    count = sum(finding.verdict is not Verdict.OK for finding in findings)
    return [*lines, f"{len(findings)} looked at, {count} to look after"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
