"""The contract of both backings about the fleet: names, presences, what is shown, settings."""

from coordination.asking import Asked, AskedRedis

from pointsman_wire.coordination.fleet_requests import (
    CODE_MS,
    LEADER_MS,
    NODES_MS,
    PRESENCE_MS,
    USED_CODE_MS,
    WRONG_CODES_MAX,
    WRONG_CODES_OF_PLACE_MAX,
    FleetAsk,
    FleetHeard,
    FleetLeave,
    FleetLeft,
    FleetPair,
    FleetPaired,
    FleetRedeem,
    FleetRedeemed,
    FleetSettle,
    FleetSettled,
    FleetTell,
    FleetTold,
    Part,
)
from pointsman_wire.coordination.requests import SessionKey


async def ask(asked: Asked, name: str, uid: str = "", **others: object) -> FleetHeard:
    request = FleetAsk(number=1, name=name, uid=uid or f"uid-{name}", **others)  # type: ignore[arg-type]
    (answer,) = await asked.ask(request)
    assert isinstance(answer, FleetHeard), answer
    assert answer.outcome == "done", answer
    return answer


async def tell(asked: Asked, name: str, uid: str = "", **parts: bytes) -> str:
    request = FleetTell(
        number=2,
        name=name,
        uid=uid or f"uid-{name}",
        presence=f"{name} lives".encode(),
        parts=tuple(parts.items()),
    )
    (answer,) = await asked.ask(request)
    assert isinstance(answer, FleetTold), answer
    return answer.outcome


async def settle(asked: Asked, name: str, version: int) -> str:
    request = FleetSettle(number=3, name=name, version=version, settings=b"settings of " + b"x")
    (answer,) = await asked.ask(request)
    assert isinstance(answer, FleetSettled), answer
    return answer.outcome


async def test_who_tells_is_named_and_heard_by_those_who_ask_for_it(asked: Asked) -> None:
    await ask(asked, "a")
    assert await tell(asked, "a", r0=b"\x00records", w0=b"\xffwords") == "done"
    first = await ask(asked, "b")
    assert set(first.names) == {"a", "b"}
    assert first.presences == {}
    wanted = (Part("a", "r0"), Part("a", "w0"), Part("a", "r1"))
    second = await ask(asked, "b", known=("a", "never"), parts=wanted)
    assert second.presences == {"a": b"a lives"}
    assert second.parts == {wanted[0]: b"\x00records", wanted[1]: b"\xffwords"}
    own = await ask(asked, "a")
    assert (own.own_part_count, own.presences) == (2, {"a": b"a lives"})


async def test_a_name_belongs_to_the_first_until_its_presence_lapses(asked: Asked) -> None:
    assert (await ask(asked, "a", "first")).holder == "first"
    assert await tell(asked, "a", "first") == "done"
    assert (await ask(asked, "a", "second")).holder == "first"
    assert await tell(asked, "a", "second") == "taken"
    asked.pass_time(PRESENCE_MS + 1)
    assert (await ask(asked, "a", "second")).holder == "second"
    assert await tell(asked, "a", "first") == "taken"


async def test_what_is_not_renewed_goes_by_itself(asked: Asked) -> None:
    """I10: every key of the fleet has a time to live."""
    await ask(asked, "a")
    await tell(asked, "a", r0=b"x")
    await settle(asked, "a", 1)
    asked.pass_time(max(NODES_MS, LEADER_MS) + 1)
    heard = await ask(asked, "b", known=("a",), parts=(Part("a", "r0"),))
    assert (heard.presences, heard.parts, heard.settings_version) == ({}, {}, 0)
    assert heard.leader == "b"


async def test_who_asks_first_leads_until_another_settles(asked: Asked) -> None:
    assert (await ask(asked, "a")).leader == "a"
    assert (await ask(asked, "b")).leader == "a"
    assert await settle(asked, "b", 1) == "done"
    assert (await ask(asked, "a")).leader == "b"


async def test_of_settings_of_one_version_the_first_rule(asked: Asked) -> None:
    assert await settle(asked, "a", 3) == "done"
    assert await settle(asked, "b", 3) == "behind"
    assert await settle(asked, "b", 2) == "behind"
    heard = await ask(asked, "b")
    assert (heard.settings_version, heard.settings_by) == (3, "a")
    assert heard.settings == b"settings of x"
    assert (await ask(asked, "b", settings_version=3)).settings == b""


async def test_who_asks_keeps_its_own_name_and_the_settings_alive(asked: Asked) -> None:
    await settle(asked, "a", 1)
    for _ in range(4):
        assert (await ask(asked, "a")).settings_version == 1
        assert (await ask(asked, "a", "other")).holder == "uid-a"
        asked.pass_time(PRESENCE_MS - 1_000)


async def test_a_store_that_forgot_shows_it_to_who_told(asked: Asked) -> None:
    """R3: the own presence and the count of own parts tell what is missing."""
    await ask(asked, "a")
    await tell(asked, "a", r0=b"x")
    asked.flush()
    heard = await ask(asked, "a")
    assert (heard.own_part_count, heard.presences) == (0, {})


async def test_names_that_no_instance_can_have_are_left_out(asked_redis: AskedRedis) -> None:
    """D2: who writes to Redis can have nothing asked for by a name of its making."""
    await ask(asked_redis, "a")
    key = "pointsman:{fleet}:instances"
    assert asked_redis.server.command("ZADD", key, "99999999999999", "Bad {name}") == 1
    heard = await ask(asked_redis, "b")
    assert set(heard.names) == {"a", "b"}


async def leave(asked: Asked, name: str, uid: str = "") -> str:
    request = FleetLeave(number=4, name=name, uid=uid or f"uid-{name}", presence=b"goes")
    (answer,) = await asked.ask(request)
    assert isinstance(answer, FleetLeft), answer
    return answer.outcome


async def test_who_leaves_frees_its_name_and_is_heard_for_the_last_time(asked: Asked) -> None:
    await ask(asked, "a")
    await tell(asked, "a", r0=b"x")
    assert await leave(asked, "a", "another") == "taken"
    assert "a" in (await ask(asked, "b")).names
    assert await leave(asked, "a") == "done"
    heard = await ask(asked, "b", known=("a",), parts=(Part("a", "r0"),))
    assert (heard.presences, heard.parts, heard.leader) == ({"a": b"goes"}, {}, "b")
    assert "a" not in heard.names
    assert (await ask(asked, "a", "successor")).holder == "successor"
    assert await tell(asked, "a", "successor") == "done"
    assert (await ask(asked, "b", known=("a",))).presences == {"a": b"a lives"}


async def test_a_last_word_goes_by_itself(asked: Asked) -> None:
    """I10."""
    await ask(asked, "a")
    assert await leave(asked, "a") == "done"
    asked.pass_time(PRESENCE_MS + 1)
    assert (await ask(asked, "b", known=("a",))).presences == {}


async def pair(asked: Asked, code: str, node: bytes = b"n1") -> str:
    (answer,) = await asked.ask(FleetPair(number=5, name="a", code=code, node=node))
    assert isinstance(answer, FleetPaired), answer
    return answer.outcome


async def redeem(asked: Asked, code: str, session: str = "s-1", **others: object) -> FleetRedeemed:
    request = FleetRedeem(number=6, code=code, session=SessionKey("", session), **others)  # type: ignore[arg-type]
    (answer,) = await asked.ask(request)
    assert isinstance(answer, FleetRedeemed), answer
    return answer


async def test_a_pairing_code_is_one_sessions_which_may_come_again(asked: Asked) -> None:
    assert await pair(asked, "c") == "done"
    assert await pair(asked, "c", b"n2") == "taken"
    found = await redeem(asked, "c")
    assert (found.outcome, found.by, found.node) == ("paired", "a", b"n1")
    assert (await redeem(asked, "c", "s-2")).outcome == "wrong"
    asked.pass_time(CODE_MS + 1)
    assert (await redeem(asked, "c")).node == b"n1"
    asked.pass_time(USED_CODE_MS + 1)
    assert (await redeem(asked, "c")).outcome == "wrong"


async def test_a_pairing_code_that_nobody_uses_lapses(asked: Asked) -> None:
    """E3, I10."""
    await pair(asked, "c")
    asked.pass_time(CODE_MS + 1)
    assert (await redeem(asked, "c")).outcome == "wrong"


async def test_wrong_codes_burn_those_that_are_open_by_where_they_come_from(asked: Asked) -> None:
    """E3: however many instances are asked, there are no more guesses than at one."""
    await pair(asked, "c")
    await pair(asked, "other")
    assert (await redeem(asked, "c-", place="x", is_guess=False)).outcome == "wrong"
    for _ in range(WRONG_CODES_OF_PLACE_MAX):
        assert (await redeem(asked, "guess", place="x")).outcome == "wrong"
    assert (await redeem(asked, "c", place="x")).outcome == "wrong"
    assert (await redeem(asked, "c", place="y")).outcome == "paired"
    for number in range(WRONG_CODES_MAX):
        await redeem(asked, "guess", place=f"p-{number}")
    assert (await redeem(asked, "other", place="y")).outcome == "wrong"
    await pair(asked, "later")
    assert (await redeem(asked, "later", place="y")).outcome == "paired"
