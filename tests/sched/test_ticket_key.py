"""The key of the lane tickets lives as long as the segments whose rows the tickets name."""

import os
from pathlib import Path
from uuid import uuid4

from pointsman_sched.supervisor.grounds import clean
from pointsman_shm.paths import InstancePaths
from pointsman_shm.state_files import make_state_files, read_instance_uid, read_ticket_key


def test_new_segments_get_a_new_ticket_key(tmp_path: Path) -> None:
    """A node with a ticket of the former service would take another node's row."""
    instance = f"t-{uuid4().hex[:12]}"
    paths = InstancePaths(instance=instance, state_dir=tmp_path, runtime_dir=tmp_path)
    make_state_files(paths, os.urandom)
    uid, key = read_instance_uid(paths), read_ticket_key(paths)
    clean(paths)
    make_state_files(paths, os.urandom)
    assert read_instance_uid(paths) == uid
    assert read_ticket_key(paths) != key
