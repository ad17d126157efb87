"""How to reach Redis: what the mains make of the configuration and the secrets beside it.

Secrets come from files or the environment, never from the configuration's own text, and show
nothing of themselves when they are printed.
"""

from collections.abc import Mapping

import msgspec


class Secret:
    """Bytes or text that must not be printed; `reveal` is for the one place that sends it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"


NO_SECRET = Secret("")


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    """One fleet's Redis.  `url` names a server, a Cluster's first node, or only the database.

    With `sentinels` the primary of `service` is asked of them and the url gives scheme and
    database.  An empty url means that there is none: every instance is on its own.
    """

    url: str = ""
    sentinels: tuple[str, ...] = ()
    service: str = "pointsman"
    cluster: bool = False
    username: str = ""
    password: Secret = NO_SECRET
    sentinel_username: str = ""
    sentinel_password: Secret = NO_SECRET
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    prefix: str = "pointsman"
    policy: str = "fail_closed"
    timeout_ms: int = 250
    breaker_failures: int = 5
    breaker_s: float = 1.0
    binding_lease_s: float = 45.0
    presence_s: float = 30.0
    inbox_max: int = 10_000
    cluster_key: Secret = NO_SECRET


_TAKEN_FROM_FILES = {"password_file", "sentinel_password_file", "cluster_key_file"}


def redis_settings(
    section: Mapping[str, object],
    *,
    password: Secret,
    sentinel_password: Secret,
    cluster_key: Secret,
) -> RedisSettings:
    """Make the settings of the configuration's section `[redis]` and the secrets."""
    values = {key: value for key, value in section.items() if key not in _TAKEN_FROM_FILES}
    values["sentinels"] = tuple(values.get("sentinels", ()))  # type: ignore[arg-type]
    return RedisSettings(
        **values,  # type: ignore[arg-type]
        password=password,
        sentinel_password=sentinel_password,
        cluster_key=cluster_key,
    )
