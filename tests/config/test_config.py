"""The configuration: defaults, bounds, and errors that say what, where and what to do."""

import os
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_shm.config import Config
from pointsman_shm.config_load import ConfigError, all_keys, load_config, parse_config


def test_no_file_is_the_default_service_on_loopback() -> None:
    config = load_config(None)
    assert config == Config()
    assert (config.server.host, config.server.port, config.server.workers) == ("127.0.0.1", 7400, 2)


def test_the_defaults_are_those_of_the_behaviour() -> None:
    config = Config()
    nodes, pools, jobs = config.nodes, config.pools, config.jobs
    assert (nodes.max_nodes, nodes.max_concurrency_max, nodes.require_gpu) == (10_000, 4_096, False)
    assert (nodes.suspect_intervals, nodes.offline_intervals) == (3, 5)
    assert (nodes.resource_threshold_percent, nodes.model_mark_s) == (85, 60.0)
    assert (pools.mode, pools.pool_count, pools.hash_seed) == ("two_level", 16, 0)
    assert (pools.match_scope, pools.match_mode) == ("core_only", "contains")
    assert (pools.sample_size, pools.pool_choice) == (8, "first")
    assert pools.enabled
    assert pools.fallback_scan_all_pools
    assert pools.auto_language_pools
    assert not pools.strict_eligibility
    assert not pools.session_affinity
    assert (pools.auto_min_nodes, pools.auto_max_pools) == (1, 50)
    assert (jobs.timeout_s, jobs.ack_s, jobs.failovers_max) == (30.0, 2.0, 3)
    assert (jobs.wait_busy_s, jobs.wait_none_s) == (10.0, 2.0)
    assert (jobs.window_s, jobs.window_jobs_max) == (300.0, 200_000)
    assert config.limits.frame_bytes_max == 2 * config.limits.payload_bytes_max == 2 * 1024**2
    assert config.catalogue.core_types == config.catalogue.default_services == ("asr", "nmt", "tts")


def test_every_default_is_a_value_that_its_key_may_have() -> None:
    """Somebody may write it down, or begin with it and go up or down."""
    assert msgspec.convert(msgspec.to_builtins(Config()), Config) == Config()


def test_values_are_read_into_their_sections() -> None:
    config = parse_config(
        """
        [server]
        port = 0
        [nodes]
        model_mark_s = 5
        [pools]
        tenant_overrides = [["acme", 2]]
        [[pools.pools]]
        id = 2
        name = "text"
        required_services = ["nmt"]
        [catalogue]
        services = ["llm"]
        """,
        "here.toml",
    )
    assert config.server.port == 0
    assert config.nodes.model_mark_s == 5.0
    assert config.pools.tenant_overrides == (("acme", 2),)
    assert config.pools.pools[0].required_services == ("nmt",)
    assert "llm" in config.catalogue.service_types()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[nodes]\nmax_nodez = 3", "unknown key nodes.max_nodez: did you mean nodes.max_nodes?"),
        ("[jobs]\nmax_nodes = 3", "unknown key jobs.max_nodes: did you mean nodes.max_nodes?"),
        ("[node]", "unknown key node: did you mean nodes?"),
        ("[pools]\nzzzzzzzz = 1", "unknown key pools.zzzzzzzz: known here: auto_language_pools, "),
        (
            '[[pools.pools]]\nid = 1\nname = "a"\nrequired_service = []',
            "unknown key pools.pools[0].required_service: "
            "did you mean pools.pools[0].required_services?",
        ),
        ('[nodes]\nmax_nodes = "many"', "nodes.max_nodes: Expected `int`, got `str`"),
        ("[nodes]\nmax_nodes = 0", "nodes.max_nodes: Expected `int` >= 1"),
        ("[nodes]\nmax_nodes = 1.5", "nodes.max_nodes: Expected `int`, got `float`"),
        ("[server]\nport = 65536", "server.port: Expected `int` <= 65535"),
        ("[server]\nworkers = 65", "server.workers: Expected `int` <= 64"),
        ('[server]\ninstance = "Big One"', "server.instance: Expected `str` matching"),
        ("[supervision]\nhung_s = 0.9", "supervision.hung_s: Expected `float` >= 1.0"),
        ("[jobs]\nack_s = nan", "jobs.ack_s: "),
        ("[jobs]\nack_s = inf", "jobs.ack_s: "),
        ("[jobs]\nack_s = -1", "jobs.ack_s: "),
        ("nodes = 3", "nodes: Expected a table, got `int`"),
        ('[pools]\nmode = "x"', "pools.mode: Invalid enum value 'x': take one of two_level, "),
        ("[nodes]\noffline_intervals = 3", "nodes: offline_intervals must be larger"),
        ("[nodes]\nbad_of_window = 6", "nodes: bad_of_window must not be larger"),
        (
            "[limits]\npayload_bytes_max = 2097152",
            "limits.payload_bytes_max: Expected `int` <= ",
        ),
        (
            "[limits]\nframe_bytes_max = 4194304",
            "limits.frame_bytes_max: Expected `int` <= 2097",
        ),
        ("[limits]\nframe_bytes_max = 65536", "limits.frame_bytes_max: Expected `int` >= 1114112"),
        ("[jobs]\nduration_timeout_min_s = 61", "jobs: duration_timeout_min_s must not exceed"),
        ("[pools]\nspread = true\nsticky = true", "pools: spread and sticky contradict"),
        (
            '[[pools.pools]]\nid = 1\nname = "a"\n[[pools.pools]]\nid = 1\nname = "b"',
            "pools: pools.id: 1 is there twice",
        ),
        (
            '[[pools.pools]]\nid = 1\nname = "a"\nrequired_services = ["asrr"]',
            "pools.pools: pool 'a' requires 'asrr', which catalogue.services does not list",
        ),
        (
            '[[pools.pools]]\nid = 1\nname = "other"',
            "pools: pools.name: 'other' is the wildcard's or a number: take another",
        ),
        (
            '[[pools.pools]]\nid = 1\nname = "2"',
            "pools: pools.name: '2' is the wildcard's or a num",
        ),
        ('[catalogue]\nservices = [""]', "catalogue.services[0]: Expected `str` of length >= 1"),
        (f'[catalogue]\nservices = ["{"x" * 65}"]', "catalogue.services[0]: Expected `str` of len"),
        (
            '[catalogue.dependencies]\nloud = ["asr"]',
            "catalogue: features.emotion_detection names 'emotion_detection', which is not known; "
            "known are asr, loud, nmt, semantic, speaker_identification, tone, tts (a table of the "
            "catalogue in the file stands instead of the default one)",
        ),
        (
            '[pools]\nauto_language_pools = false\ntenant_overrides = [["a", 16]]',
            "pools.tenant_overrides: 'a' names pool 16, which does not exist",
        ),
        (
            '[catalogue.dependencies]\na = ["b"]\nb = ["a"]\n[catalogue.features]',
            "catalogue: dependencies form a cycle: a -> b -> a",
        ),
        ('[redis]\nurl = "http://x"', "redis: url must begin with redis://, rediss:// or unix://"),
        ('[redis]\nurl = "redis://u:p@x"', "redis: url must not carry a user or password: set u"),
        (
            '[redis]\nurl = "redis://x"\nsentinels = ["y"]\ncluster = true',
            "redis: sentinels and cluster contradict each other",
        ),
        ("[redis]\ncluster = true", "redis: without url nothing else of it means anything"),
        (
            '[redis]\nurl = "redis://x/3"\ncluster = true',
            "redis: a cluster is reached by host and port, and has database 0",
        ),
        (
            '[redis]\nurl = "redis://x"\nca_file = "a"',
            "redis: ca_file and cert_file mean nothing without TLS",
        ),
        (
            '[redis]\nurl = "rediss://x"\ncert_file = "a"',
            "redis: cert_file and key_file go together",
        ),
        ('[redis]\nprefix = "a{b"', "redis.prefix: Expected `str` matching"),
        ('[redis]\npolicy = "x"', "redis.policy: Invalid enum value 'x': take one of fail_closed"),
        ("[redis]\ntimeout_ms = 9", "redis.timeout_ms: Expected `int` >= 10"),
        ("a = ", "not TOML: Invalid value (at end of document)"),
        ("a = " + "[" * 100_000, "not TOML: "),
        (
            f"[pools]\ntenant_overrides = {[[f'{tenant:064}', 1] for tenant in range(4_096)]}",
            "pools, catalogue and tenants take 28",
        ),
        ("[nodes]\nmax_nodes = " + "9" * 5_000, "a number has thousands of digits"),
    ],
)
def test_a_wrong_config_says_what_is_wrong_and_where(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="^my.toml: " + re.escape(message)):
        parse_config(text, "my.toml")


def test_every_tenant_can_be_sent_to_a_pool_also_that_of_no_name() -> None:
    longest = "t" * 128
    config = parse_config(f'[pools]\ntenant_overrides = [["", 1], ["{longest}", 2]]', "my.toml")
    assert config.pools.tenant_overrides == (("", 1), (longest, 2))


def test_an_override_to_an_automatic_pool_is_taken_on_trust() -> None:
    config = parse_config('[pools]\ntenant_overrides = [["a", 16]]', "my.toml")
    assert config.pools.tenant_overrides == (("a", 16),)


def complaint(text: str) -> str:
    """What is wrong with a text, "" when nothing is; any other exception is a failure."""
    try:
        parse_config(text, "my.toml")
    except ConfigError as error:
        return str(error)
    return ""


@given(st.text(max_size=40))
def test_any_text_is_a_config_or_a_config_error(text: str) -> None:
    assert (complaint(text) or "my.toml: ").startswith("my.toml: ")


@given(st.sampled_from(all_keys()), st.sampled_from(["-1", "true", '"x"', "[]", "{}", "1e300"]))
def test_any_value_under_any_key_is_a_config_or_an_error_that_names_it(
    key: str, value: str
) -> None:
    section = key.partition(".")[0]
    found = complaint(f"{key} = {value}")
    assert not found or found.startswith(f"my.toml: {section}")


def written(path: Path, content: bytes, mode: int = 0o640) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_a_file_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "c.toml", b"[server]\nworkers = 3\n")
    assert load_config(path).server.workers == 3


@pytest.mark.parametrize("mode", [0o660, 0o602, 0o666])
def test_u6_a_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """U6: whoever can write the configuration owns the service."""
    path = written(tmp_path / "c.toml", b"", mode)
    with pytest.raises(ConfigError, match=rf"mode {mode:04o}\): chmod go-w {path}"):
        load_config(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "not UTF-8 text"), (b"#" * (1024 * 1024 + 1), "larger than 1048576 bytes")],
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(written(tmp_path / "c.toml", content))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml: cannot be read: No such file"):
        load_config(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match=r"not a regular file|Is a directory"):
        load_config(tmp_path)
    with pytest.raises(ConfigError, match=r"'a\\x00b': no file has such a name"):
        load_config(Path("a\0b"))


def test_a_pipe_in_place_of_the_file_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):
        load_config(tmp_path / "pipe")
