"""A fleet of language models: nothing about speech is baked in; the example does what it says."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest
from live.commands import run
from live.service import PATIENCE_S

from pointsman import JobRefused, blocking
from pointsman.blocking import BlockingSession
from pointsman.testing import RunningService, running_service

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "llm-fleet"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")
NODES = {
    "gpu-a": ["--model", "tiny-8b", "--gpu-memory", "24", "--features", "json_mode"],
    "gpu-b": ["--model", "large-70b", "--gpu-memory", "80", "--features", "json_mode,tools"],
    "box-c": ["--model", "mini-embed", "--gpu-memory", "8", "--services", "embed,rerank"],
}
HELLO = json.dumps({"messages": [{"role": "user", "content": "hello"}]})
NOW = {"wait_busy_s": 0.0, "wait_none_s": 0.0}


@contextmanager
def node(service: RunningService, *words: str) -> Iterator[str]:
    """The example's node as a program; yields what it says when jobs may come."""
    command = [sys.executable, str(EXAMPLE / "llm_node.py"), "--server", service.address, *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's file, with permissions that the service takes."""
    path = tmp_path_factory.mktemp("llm") / "llm.toml"
    path.write_bytes((EXAMPLE / "llm.toml").read_bytes())
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def fleet(config: Path) -> Iterator[RunningService]:
    """The service and the three nodes of the README, known to all workers."""
    with running_service(config=config) as service, ExitStack() as stack:
        for name, words in NODES.items():
            said = stack.enter_context(node(service, "--node-id", name, *words))
            assert said.startswith(f"{name} serves model="), said
        until_s = monotonic() + PATIENCE_S
        while len(json.loads(ask(service, "coverage", "--json").stdout)["lines"]) < 5:
            assert monotonic() < until_s, "the nodes are never all covered"
            sleep(0.05)
        yield service


@pytest.fixture
def session(fleet: RunningService) -> Iterator[BlockingSession]:
    with blocking.connect(fleet.address) as opened:
        yield opened


def ask(service: RunningService, *words: str) -> subprocess.CompletedProcess[str]:
    place = ["--instance", service.instance, "--runtime-dir", str(service.runtime_dir)]
    return run(*words, *place)


def readme_examples() -> list[tuple[str, str]]:
    """(command, what it prints) of every block that begins with a prompt."""
    return re.findall(r"```text\n\$ (.+)\n((?:.*\n)+?)```", README)


def words_of(text: str) -> list[list[str]]:
    """Lines as words; a version of the snapshot is as it happens to be, a rule as long."""
    text = re.sub(r"snapshot \d+", "snapshot 7", text)
    return [line.split() for line in text.splitlines() if line.strip("─ ")]


@pytest.mark.parametrize(("command", "printed"), readme_examples())
def test_the_commands_of_the_readme_print_what_it_says(
    fleet: RunningService, command: str, printed: str
) -> None:
    program, *words = shlex.split(command)
    if program == "pointsman":
        ended = ask(fleet, *words)
    else:
        script, *words = words
        ended = subprocess.run(
            [sys.executable, str(EXAMPLE / script), *words, "--server", fleet.address],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert words_of(ended.stdout + ended.stderr) == words_of(printed)
    assert ended.returncode == (3 if "NO_AVAILABLE_NODE" in printed else 0)


def test_the_readme_has_examples_of_answers_a_refusal_and_coverage() -> None:
    commands = " ".join(command for command, _ in readme_examples())
    assert len(readme_examples()) >= 5
    assert "coverage" in commands
    assert all(f"--node-id {name} {' '.join(words[:4])}" in README for name, words in NODES.items())


def test_a_request_that_names_no_service_gets_the_catalogues_pipeline(
    session: BlockingSession,
) -> None:
    result = session.submit(HELLO, explain=True)
    assert result.node_id in ("gpu-a", "gpu-b")
    assert result.placement is not None
    assert result.placement.pool == "chat"


def test_languages_that_a_session_names_all_the_same_keep_nobody_away(
    fleet: RunningService,
) -> None:
    with blocking.connect(fleet.address, src="en", tgt="ko") as session:
        assert session.submit(HELLO, services=["chat"]).node_id in ("gpu-a", "gpu-b")


def test_the_words_of_an_answer_come_one_by_one(session: BlockingSession) -> None:
    *pieces, whole = session.stream(HELLO, services=["chat"], labels_required={"model": "tiny-8b"})
    assert "".join(piece.text for piece in pieces).split()[:2] == ["You", "asked:"]
    assert "hello" in whole.text


def test_models_and_memory_are_labels_that_a_request_requires_or_prefers(
    session: BlockingSession,
) -> None:
    big = {"gpu-48-gib": "yes"}
    for _ in range(4):
        assert session.submit(HELLO, labels_required=big).node_id == "gpu-b"
        assert session.submit(HELLO, labels_preferred={"model": "tiny-8b"}).node_id == "gpu-a"
    with pytest.raises(JobRefused) as refused:
        session.submit(HELLO, labels_required={**big, "model": "tiny-8b"}, **NOW)  # type: ignore[arg-type]
    assert refused.value.breakdown is not None
    assert refused.value.breakdown.counts == {"label_mismatch": 2}


def test_a_feature_that_no_node_supports_is_the_reason(session: BlockingSession) -> None:
    with pytest.raises(JobRefused) as refused:
        session.submit("{}", services=["embed"], features=["tools"], **NOW)  # type: ignore[arg-type]
    breakdown = refused.value.breakdown
    assert breakdown is not None
    assert breakdown.best_reason == "feature_unsupported"
    assert breakdown.nodes["feature_unsupported"] == ["box-c"]


def test_a_feature_may_need_services_that_one_node_must_have_all(
    fleet: RunningService, session: BlockingSession
) -> None:
    """retrieval -> search -> embed and rerank, beside the pipeline's chat."""
    with pytest.raises(JobRefused):
        session.submit(HELLO, features=["retrieval"], **NOW)  # type: ignore[arg-type]
    words = ["--model", "all", "--services", "chat,embed,rerank", "--features", "retrieval"]
    with node(fleet, "--node-id", "all-d", *words):
        result = session.submit(HELLO, features=["retrieval"], explain=True)
        assert result.node_id == "all-d"
        assert result.placement is not None
        assert result.placement.pool == "everything"


def test_a_feature_that_the_catalogue_does_not_know_gets_a_hint(session: BlockingSession) -> None:
    with pytest.raises(JobRefused, match="json_mode"):
        session.submit(HELLO, features=["json_modus"])


def test_a_service_that_the_catalogue_does_not_know_can_neither_be_offered_nor_asked_for(
    fleet: RunningService, session: BlockingSession
) -> None:
    with pytest.raises(JobRefused, match="unknown service 'ocr'"):
        session.submit("x", services=["ocr"])
    command = [sys.executable, str(EXAMPLE / "llm_node.py"), "--server", fleet.address]
    command += ["--node-id", "x", "--model", "m", "--services", "ocr"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert "services[0].kind" in ended.stderr
    assert ended.returncode != 0


def test_coverage_names_what_hangs_on_one_node(fleet: RunningService) -> None:
    told = json.loads(ask(fleet, "coverage", "--single", "--json").stdout)
    found = {(line["service"], line["feature"]): line["node_id"] for line in told["lines"]}
    assert found == {("chat", "tools"): "gpu-b", ("embed", ""): "box-c", ("rerank", ""): "box-c"}


def test_a_node_that_pauses_is_covered_no_more_and_what_if_says_so_before(
    fleet: RunningService,
) -> None:
    words = ["where", "--services", "chat", "--features", "tools", "--what-if", "node=gpu-b:paused"]
    ended = ask(fleet, *words)
    assert "gpu-b" in ended.stdout
    assert "owner" in ended.stdout


def test_a_service_is_added_while_the_fleet_works(config: Path, fleet: RunningService) -> None:
    before = config.read_text(encoding="utf-8")
    config.write_text(
        before.replace('["chat", "embed", "rerank"]\nd', '["chat", "embed", "rerank", "ocr"]\nd')
    )
    try:
        ended = ask(fleet, "reload")
        assert "catalogue.services: [chat, embed, rerank] -> [chat, embed, rerank, ocr]" in (
            ended.stdout
        ), ended.stderr
        with node(fleet, "--node-id", "ocr-e", "--model", "eyes", "--services", "chat") as said:
            assert "ocr-e serves" in said
    finally:
        config.write_text(before)
        assert ask(fleet, "reload").returncode == 0
