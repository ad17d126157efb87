"""Redis in a worker's shell: settings and secrets, the coordinator, and their end."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from pointsman_shm.config_redis import RedisConfig
from pointsman_shm.memory.stats import StatsPage
from pointsman_shm.secret_files import redis_secrets
from pointsman_shm.uplink import NameHeld, UplinkMessage
from pointsman_wire.coordination.inbox_requests import Place
from pointsman_wire.coordination.settings import RedisSettings, Secret, redis_settings
from pointsman_wire.coordination.signing import Signer
from pointsman_wire.errors import Code
from pointsman_wire.messages import error_answer
from pointsman_wire.order_messages import Order, OrderAnswer
from pointsman_wire.queries.inbox_messages import DeadLetters, DeadLettersQuery, InboxOrder
from pointsman_workers.core.events import AcknowledgeInbox, Coordinate, ManagerSaid, SendInstance
from pointsman_workers.core.setup import SharingSettings
from pointsman_workers.shell.sharing.backing import Backing
from pointsman_workers.shell.sharing.coordinator import Coordinator
from pointsman_workers.shell.sharing.dead_letters import DeadLetterDesk
from pointsman_workers.shell.sharing.filling import FillingWatch
from pointsman_workers.shell.sharing.inbox import Inbox
from pointsman_workers.shell.sharing.outgoing import Sender
from pointsman_workers.shell.sharing.unfit import RedisUnfit

SHARED_COMMANDS = (Coordinate, SendInstance, AcknowledgeInbox)


def settings_of(redis: RedisConfig, environment: Mapping[str, str]) -> RedisSettings | None:
    """What the configuration says, with the secrets; None when there is no Redis.

    Raises ConfigError for a secret file that cannot be used.
    """
    if not redis.is_on:
        return None
    secrets = redis_secrets(redis, environment)
    section = {name: getattr(redis, name) for name in redis.__struct_fields__}
    return redis_settings(
        section,
        password=Secret(secrets.password),
        sentinel_password=Secret(secrets.sentinel_password),
        cluster_key=Secret(secrets.cluster_key),
    )


class SharedShell:
    """What a worker has to do with other instances; nothing, where there is no Redis."""

    def __init__(self, redis: RedisConfig, environment: Mapping[str, str]) -> None:
        self._settings = settings_of(redis, environment)
        self._backing: Backing | None = None
        self._coordinator: Coordinator | None = None
        self._inbox: Inbox | None = None
        self._dead_letters: DeadLetterDesk | None = None

    def core_settings(self) -> SharingSettings | None:
        """What the core is told of it."""
        settings = self._settings
        if settings is None:
            return None
        return SharingSettings(
            lease_s=settings.binding_lease_s, is_local=settings.policy == "local"
        )

    async def meet(self, say: Callable[[str], None]) -> None:
        """Meet Redis, if there is one.  Raises RedisUnfit."""
        if self._settings is None:
            return
        # redis-py takes long to read, and most services do without it.
        from pointsman_workers.shell.sharing.reaching import reach_redis

        self._signer = _signer_of(self._settings)
        self._backing = await reach_redis(self._settings, say)

    def open(
        self, post: Callable[[Any], None], stats: StatsPage, broken: Callable[[str], None]
    ) -> None:
        """From now on the core may wish for something; `post` tells it what comes of that."""
        if self._settings is None or self._backing is None:
            return
        self._coordinator = Coordinator(
            self._backing,
            post,
            stats,
            lambda error: broken(f"ends: coordination has a bug: {error!r}"),
            wait_s=self._settings.timeout_ms / 1e3,
        )

    def open_inbox(
        self,
        sender: Sender,
        post: Callable[[Any], None],
        stats: StatsPage,
        broken: Callable[[str], None],
        say: Callable[[str], None],
    ) -> None:
        """Hear what other instances say to this worker, and speak to them."""
        if self._settings is None or self._backing is None:
            return
        from pointsman_workers.shell.sharing.reaching import AWAY, inbox_reader

        filling = FillingWatch(self._settings.inbox_max, stats, say)
        sender = replace(sender, presence_ms=int(self._settings.presence_s * 1e3))
        self._inbox = Inbox(sender, self._signer, self._backing, stats, filling)
        self._inbox.open(
            inbox_reader(self._settings, sender.instance, sender.shard),
            AWAY,
            post,
            lambda error: broken(f"ends: the inbox has a bug: {error!r}"),
        )

        place = Place(sender.instance, sender.shard)
        self._dead_letters = DeadLetterDesk(place, self._signer, self._backing, say)

    def hear_manager(self, post: Callable[[ManagerSaid], None], message: UplinkMessage) -> None:
        """Take what the manager says of the instance's name; the rest is the core's."""
        if not isinstance(message, NameHeld):
            post(ManagerSaid(message))
        elif self._inbox is not None:
            self._inbox.name_held(is_ours=message.is_ours)

    async def obey(self, order: Order) -> OrderAnswer | None:
        """Carry out an operator's order; None for one that is no worker's."""
        if self._dead_letters is not None:
            return await self._dead_letters.obey(order)
        if not isinstance(order, InboxOrder):
            return None
        if isinstance(order, DeadLettersQuery):
            return DeadLetters(letters=[], total=0)
        text = "this instance is on its own: without [redis] in its configuration it has no inbox"
        return error_answer(Code.UNSUPPORTED_FEATURE, text)

    async def close(self) -> None:
        """Hang up."""
        if self._inbox is not None:
            await self._inbox.close()
        if self._coordinator is not None:
            await self._coordinator.close()
        elif self._backing is not None:
            await self._backing.close()

    def carry_out(self, command: Coordinate | SendInstance | AcknowledgeInbox) -> None:
        """Do what the core wishes of the fleet."""
        assert self._coordinator is not None, command
        assert self._inbox is not None, command
        if isinstance(command, Coordinate):
            self._coordinator.ask(command)
        elif isinstance(command, SendInstance):
            self._inbox.send(command)
        else:
            self._inbox.acknowledge(command)


def _signer_of(settings: RedisSettings) -> Signer | None:
    """Who signs what we say; None without a key, which the manager bears on one host alone."""
    if not settings.cluster_key:
        return None
    try:
        return Signer(settings.cluster_key)
    except ValueError as error:
        raise RedisUnfit(str(error)) from error
