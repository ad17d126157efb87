"""A node beside a job or beside the jobs of late, and coverage, in words and tables."""

from collections.abc import Sequence

from pointsman.cli.fleet.view import count_words
from pointsman.cli.placement_words import node_words, pool_words
from pointsman.cli.screen import facts, say, show, table
from pointsman_wire.queries.explain_messages import Coverage, CoverageLine, WhyNot

NOTHING_YET = "no job has been placed or refused yet that could tell"


def show_why_not(answer: WhyNot) -> None:
    """Why a node does not get a job, or why it gets so few."""
    facts(
        [
            ("node", f"{node_words(answer.node_id, answer.instance)}, {answer.state}"),
            ("pools", ", ".join(map(pool_words, answer.pools)) or "none"),
            ("slots", f"{answer.held} of {answer.slots_max} in use"),
            ("job", answer.job),
        ]
    )
    if answer.job:
        _show_checks(answer)
    else:
        _show_skips(answer)


def _show_checks(answer: WhyNot) -> None:
    passed = [check.check for check in answer.checks if check.passes]
    failed = [check for check in answer.checks if not check.passes]
    facts([("passes", ", ".join(passed) if failed else "every check"), ("so", answer.verdict)])
    if failed:
        rows = [
            [check.check, check.detail or check.reason.replace("_", " "), check.change]
            for check in failed
        ]
        say("")
        show(table(["FAILS", "what is lacking", "what would change it"], rows))


def _show_skips(answer: WhyNot) -> None:
    say("")
    if not answer.jobs_seen:
        say(NOTHING_YET)
        return
    say(f"of the latest {count_words(answer.jobs_seen, 'decision')}:")
    rows = [[str(answer.jobs_taken), "it took the job", "", ""]]
    if answer.jobs_outranked:
        rows.append(
            [
                str(answer.jobs_outranked),
                "another was less loaded",
                "",
                "nothing is wrong: work goes to who has most room",
            ]
        )
    if answer.jobs_not_drawn:
        rows.append(
            [
                str(answer.jobs_not_drawn),
                "it was not looked at",
                "",
                "nothing is wrong: others of its pool, or another pool, came first",
            ]
        )
    rows += [
        [str(skip.jobs), f"skipped: {skip.reason.replace('_', ' ')}", skip.example, skip.change]
        for skip in answer.skips
    ]
    heads = ["jobs", "what became of them", "which", "what would change it"]
    show(table(heads, rows, numbers=["jobs"]))


# ---- coverage


def show_coverage(answer: Coverage, *, is_single: bool) -> None:
    """A line for each kind of work; then what hangs on a single node."""
    if answer.lines:
        heads = ["service", "from", "to", "feature", "tenant", "nodes", "slots", "free", "only"]
        used = [at for at, head in enumerate(heads) if _is_used(answer.lines, head)]
        rows = [_coverage_row(line) for line in answer.lines]
        show(
            table(
                [heads[at] for at in used],
                [[row[at] for at in used] for row in rows],
                numbers=("nodes", "slots", "free"),
            )
        )
    else:
        say("nothing hangs on a single node" if is_single else "nobody does any such work now")
    more = f", {len(answer.lines)} of them shown: --limit, --offset" if answer.more else ""
    say(
        f"{count_words(answer.total, 'kind')} of work{more}; "
        f"{answer.single} hang on a single node · snapshot {answer.snapshot_version}"
    )
    if answer.truncated:
        say("not everything was counted, there is too much: name --service, --src or --tgt")


def _is_used(lines: Sequence[CoverageLine], head: str) -> bool:
    values = {
        "feature": [line.feature for line in lines],
        "tenant": [line.tenant for line in lines],
        "from": [line.src_lang for line in lines],
        "to": [line.tgt_lang for line in lines],
        "only": [line.node_id for line in lines],
    }
    return any(values.get(head, ["always"]))


def _coverage_row(line: CoverageLine) -> list[str]:
    return [
        line.service,
        line.src_lang,
        line.tgt_lang,
        line.feature,
        line.tenant,
        str(line.nodes),
        str(line.slots),
        str(line.free),
        line.node_id,
    ]
