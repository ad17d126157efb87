"""`explain`, `where`, `why-not`, `coverage`: why a job went there, and where others would go."""

from typing import Annotated

import typer

from pointsman.cli.endings import FAILED, NOT_TAKEN, Commands, Trouble
from pointsman.cli.explain import asking, decision_view, node_view
from pointsman.cli.explain import options as opts
from pointsman.cli.fleet.asking import find_service
from pointsman.cli.fleet.view import show_faults
from pointsman.cli.options import Instance, Json, Limit, RuntimeDir, Services, Source, Target
from pointsman.cli.screen import complete, facts, fields, say, say_json
from pointsman.cli.words import labels, listed
from pointsman_wire.queries.explain_messages import (
    Coverage,
    CoverageQuery,
    Explained,
    ExplainQuery,
    JobAsk,
    Where,
    WhereQuery,
    WhyNot,
    WhyNotQuery,
)

app = typer.Typer(cls=Commands)

LINES_MAX = 1000


@app.command()
def explain(
    request_id: Annotated[str, typer.Argument(help="The request's id.")],
    *,
    session_id: opts.SessionId = "",
    replay: Annotated[
        bool, typer.Option("--replay", help="Decide again from the record, and compare.")
    ] = False,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Say why a job went where it went, or why nobody took it.

    Workers remember their latest decisions.  Exit code 1: none about this
    request is kept, or a replay came out differently.
    """
    service = find_service(instance, runtime_dir)
    query = ExplainQuery(request_id=request_id, session_id=session_id, replay=replay)
    said = asking.ask_workers(service, query, Explained)
    found = {w: a for w, a in said.answers.items() if a.decisions or a.jobs}
    if as_json:
        say_json({"instance": service.instance, "workers": complete(found)})
    else:
        show_faults(said.faults)
        for worker, answer in found.items():
            _show_explained(answer, worker)
    if not found:
        kept = sum(answer.decisions_kept for answer in said.answers.values())
        raise Trouble(
            f"no decision about request {request_id!r} is kept",
            todo=f"look at its spelling; the {kept} latest decisions are remembered",
        )
    replays = [view.replay for answer in found.values() for view in answer.decisions]
    if any(again is not None and not again.equal for again in replays):
        raise typer.Exit(FAILED)


def _show_explained(answer: Explained, worker: str) -> None:
    for number, view in enumerate(answer.decisions):
        say(*([""] if number else []))
        decision_view.show_decision(view, worker)
    if answer.jobs:
        say(*([""] if answer.decisions else []))
    for job in answer.jobs:
        decision_view.show_job(job, worker)


@app.command()
def where(
    *,
    src: Source = "",
    tgt: Target = "",
    services: Services = None,
    features: opts.Features = None,
    label: opts.Label = None,
    prefer_label: opts.PreferLabel = None,
    prefer: opts.Prefer = "",
    exclude: opts.Exclude = None,
    own_nodes: opts.OwnNodes = False,
    tenant: opts.Tenant = "",
    session_id: opts.SessionId = "",
    auto_langs: opts.AutoLangs = None,
    what_if: opts.WhatIf = None,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Say where such a job would go now, and why, without running it.

    With --what-if also where it would go then, and what differs.  Exit
    code 3: nobody would take it.
    """
    service = find_service(instance, runtime_dir)
    ask = JobAsk(
        session_id=session_id,
        tenant=tenant,
        src_lang=src,
        tgt_lang=tgt,
        auto_langs=listed(auto_langs),
        services=listed(services),
        features=listed(features),
        labels_required=labels(label),
        labels_preferred=labels(prefer_label),
        accept_public=not own_nodes,
        preferred_node=prefer,
        exclude=listed(exclude),
    )
    query = WhereQuery(ask=ask, what_if=what_if or [])
    said = asking.ask_workers(service, query, Where, asking.owner_of(service, session_id))
    answer = said.first()
    if as_json:
        say_json({"instance": service.instance, **fields(answer)})
    else:
        _show_where(answer)
    if not (answer.then or answer.decision).node_id:
        raise typer.Exit(NOT_TAKEN)


def _show_where(answer: Where) -> None:
    decision_view.show_decision(answer.decision)
    if answer.then is None:
        return
    say("", f"supposed that {'; '.join(answer.assumed)}:", "")
    decision_view.show_decision(answer.then)
    say("")
    changed = answer.differences or ["nothing"]
    facts([("what differs" if n == 0 else "", words) for n, words in enumerate(changed)])


@app.command(name="why-not")
def why_not(
    node_id: Annotated[str, typer.Argument(help="The node.", metavar="NODE")],
    request_id: Annotated[
        str, typer.Argument(help="A request that is still remembered.", metavar="[REQUEST_ID]")
    ] = "",
    *,
    src: Source = "",
    tgt: Target = "",
    services: Services = None,
    features: opts.Features = None,
    label: opts.Label = None,
    own_nodes: opts.OwnNodes = False,
    tenant: opts.Tenant = "",
    exclude: opts.Exclude = None,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Say why a node does not get a job; without one, why it gets so few.

    The job is a request that ran, or what the options describe.  Without
    either the latest decisions are looked at.
    """
    service = find_service(instance, runtime_dir)
    ask = JobAsk(
        tenant=tenant,
        src_lang=src,
        tgt_lang=tgt,
        services=listed(services),
        features=listed(features),
        labels_required=labels(label),
        accept_public=not own_nodes,
        exclude=listed(exclude),
    )
    has_job = ask != JobAsk()
    query = WhyNotQuery(
        node_id=node_id, ask=ask if has_job else None, request_id="" if has_job else request_id
    )
    said = asking.ask_workers(service, query, WhyNot)
    said.first()  # trouble, when no worker knows the request
    answer = asking.together(said.answers)
    if as_json:
        say_json({"instance": service.instance, **fields(answer)})
    else:
        show_faults(said.faults)
        node_view.show_why_not(answer)


@app.command()
def coverage(
    *,
    service: Annotated[str, typer.Option(help="Only this, such as nmt or asr+nmt+tts.")] = "",
    src: Source = "",
    tgt: Target = "",
    feature: Annotated[str, typer.Option(help="Only with this feature.")] = "",
    tenant: opts.Tenant = "",
    single: Annotated[
        bool, typer.Option("--single", help="Only what hangs on a single node.")
    ] = False,
    limit: Limit = 100,
    offset: Annotated[int, typer.Option(min=0, help="Leave out so many lines first.")] = 0,
    instance: Instance = "default",
    runtime_dir: RuntimeDir = None,
    as_json: Json = False,
) -> None:
    """Show for each kind of work how many nodes are there, and their free slots."""
    running = find_service(instance, runtime_dir)
    query = CoverageQuery(
        limit=min(limit, LINES_MAX),
        offset=offset,
        service=service,
        src_lang=src,
        tgt_lang=tgt,
        feature=feature,
        tenant=tenant,
        nodes_max=1 if single else None,
    )
    answer = asking.ask_workers(running, query, Coverage).first()
    if as_json:
        say_json({"instance": running.instance, **fields(answer)})
    else:
        node_view.show_coverage(answer, is_single=single)
