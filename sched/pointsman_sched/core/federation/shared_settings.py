"""Pools and catalogue are the fleet's: the newest settings, whoever loaded them, rule everywhere.

Each set has a version.  A reload on any instance takes effect there, and is made the fleet's under
the next version, unless another was first; the others put it in force by the same way as a reload
of their own, with the same checks.  What cannot be applied while a service runs is told, and not
applied.  Whose settings rule leads: its lock lapses a minute after it is gone, then another that
lives takes it and keeps the settings in the store.  A store that has forgotten gets the newest that
an instance has: from who leads, or, if that one never had them, from who has.  Of two sets of one
version, of which a failover has lost one, that in the store rules.

A service that starts with another file follows the fleet, with two exceptions: it is alone, or the
settings that rule were its own.  Then its file is newer than what the store has.
"""

from collections.abc import Sequence

import msgspec

from pointsman_sched.core.events import Alarm, ConfigOffered
from pointsman_sched.core.federation.followed import Followed
from pointsman_sched.core.orders.answering import trouble_of
from pointsman_sched.core.orders.rebuild import NOBODY, Rebuild
from pointsman_sched.core.state import ManagementState
from pointsman_shm.config import Config, PoolsConfig
from pointsman_shm.config_difference import hot_differences
from pointsman_shm.rules.catalogue import Catalogue
from pointsman_wire.coordination.fleet_requests import FleetHeard, FleetSettle
from pointsman_wire.order_messages import ConfigDiff

SETTINGS_BYTES_MAX = 1024 * 1024
VERSION_MAX = 2**53 - 1


class SettingsTold(msgspec.Struct, frozen=True):
    """What is shared of a configuration, whose it is, and its version."""

    by: str
    version: int
    pools: PoolsConfig
    catalogue: Catalogue


_decoder = msgspec.msgpack.Decoder(SettingsTold)


class SharedSettings:
    """The fleet's settings as this instance has them."""

    def __init__(self) -> None:
        # Of those in force here; 0 until we have compared ours with the fleet's.
        self.version = 0
        self.by = ""
        # What is not applied, and why; for people.
        self.trouble = ""
        self._stored_version = 0
        self._stored_by = ""
        self._refused_version = 0
        self._following: SettingsTold | None = None
        # Ours are to be made the fleet's, under this version; 0: they are not.
        self._wished_version = 0

    @property
    def read_version(self) -> int:
        """Return which version need not be read again; 0 where the store's is another of ours."""
        return self.version if self._stored_by == self.by else 0

    def heard(self, state: ManagementState, heard: FleetHeard, living: Sequence[Followed]) -> None:
        """Compare what rules with what is in force here; `living` are the other instances."""
        stored = self._stored_version = heard.settings_version
        self._stored_by = heard.settings_by
        if stored > VERSION_MAX or state.rebuild is not None or self._wished_version:
            return
        if stored < max(self.version, 1):
            # The store has none, or has forgotten.
            if self._gives(state.setup.instance, heard.leader, living):
                self._wished_version = max(self.version, 1)
        elif stored == self.version and heard.settings_by == self.by:
            return
        elif stored != self._refused_version and heard.settings:
            is_newer_here = not self.version and (
                not living or heard.settings_by == state.setup.instance
            )
            self._compare(state, heard, is_newer_here=is_newer_here)

    def _gives(self, own: str, leader: str, living: Sequence[Followed]) -> bool:
        """Is it ours to give the store its settings again?"""
        if not self.version:
            return own == leader
        versions = {other.name: other.settings_version for other in living}
        versions[own] = self.version
        newest = max(versions.values())
        having = {name for name, version in versions.items() if version == newest}
        return own == (leader if leader in having else min(having))

    def wish(self, state: ManagementState, number: int) -> FleetSettle | None:
        """Return the request that makes ours the fleet's, if that is due."""
        if not self._wished_version or state.rebuild is not None:
            return None
        name = state.setup.instance
        told = SettingsTold(name, self._wished_version, state.config.pools, state.config.catalogue)
        settings = msgspec.msgpack.encode(told)
        return FleetSettle(number, name=name, version=self._wished_version, settings=settings)

    def settled(self, state: ManagementState, *, is_done: bool) -> None:
        """Ours rule from now on, or others were first."""
        version, self._wished_version = self._wished_version, 0
        if is_done:
            self.version = self._stored_version = version
            self.by, self.trouble = state.setup.instance, ""
        elif 0 < self.version < version:  # else it was given again, and somebody else did so too
            state.outbox.wish(
                Alarm(
                    "another instance changed the pools of the fleet at the same time: its "
                    "settings will be followed; reload again if yours shall rule"
                )
            )

    def in_force(self, ticket: int) -> None:
        """A configuration was put in force: the fleet's, or one that was loaded here."""
        following, self._following = self._following, None
        if ticket == NOBODY and following is not None:
            self.version, self.by, self.trouble = following.version, following.by, ""
        elif ticket != NOBODY:
            self._wished_version = max(self.version, self._stored_version) + 1

    def refuse(self, state: ManagementState, words: str) -> None:
        """The fleet's settings cannot be put in force here."""
        following, self._following = self._following, None
        self._refused_version = following.version if following else self._stored_version
        self.trouble = words
        state.outbox.wish(Alarm(f"the pools of the fleet are not applied here: {words}"))

    def _compare(self, state: ManagementState, heard: FleetHeard, *, is_newer_here: bool) -> None:
        told = _read(heard)
        config = _with(state.config, told) if isinstance(told, SettingsTold) else told
        if isinstance(told, str) or isinstance(config, str):
            self.refuse(state, str(config))
            return
        changes, needs_restart = hot_differences(state.config, config)
        source = f"version {told.version} of instance {told.by}"
        if not changes and not needs_restart:
            self.version, self.by, self.trouble = told.version, told.by, ""
        elif is_newer_here:
            self._wished_version = told.version + 1
        elif needs_restart:
            self.refuse(state, f"{source} needs a restart: {'; '.join(needs_restart)}")
        elif trouble := trouble_of(state, config):
            self.refuse(state, f"{source}: {trouble}")
        else:
            if not self.version:
                words = f"{source} rules, not this instance's file: {'; '.join(changes)}"
                state.outbox.wish(Alarm(f"pools and catalogue are the fleet's: {words}"))
            self._following = told
            offered = ConfigOffered(ticket=NOBODY, source=source, config=config)
            state.rebuild = Rebuild(state, offered, ConfigDiff(source=source, changes=changes))


def _read(heard: FleetHeard) -> SettingsTold | str:
    """Read what the store has, or say why it cannot be."""
    if len(heard.settings) > SETTINGS_BYTES_MAX:
        return f"they take {len(heard.settings)} bytes"
    try:
        told = _decoder.decode(heard.settings)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return f"they cannot be read: {error}"
    if (told.by, told.version) != (heard.settings_by, heard.settings_version):
        return "they were put there under another name or version"
    return told


def _with(config: Config, told: SettingsTold) -> Config | str:
    """Return our configuration with the fleet's settings, or say why it is none."""
    try:
        return msgspec.structs.replace(config, pools=told.pools, catalogue=told.catalogue)
    except ValueError as error:
        return f"they contradict each other: {error}"
