"""Which class of node can do a job: the checks that need no node, in their one order.

gpu -> public or same tenant -> types installed -> types ready -> features -> labels -> languages

Checks of a single node (state, lane, marks, owner policy, exclusion, slots, resources) stand
around these in the selection; a class that fails here fails for every node it has.
"""

from collections.abc import Callable

from pointsman_shm.rules.languages import is_semantic_for, language_failure
from pointsman_shm.rules.reasons import Reason
from pointsman_shm.snapshot.records import CapabilityClass, Requirement


def first_failure(
    capability: CapabilityClass, requirement: Requirement, require_gpu: bool
) -> Reason | None:
    """The first check that this class fails, or None when it can do the job."""
    for check in CHECKS:
        reason = check(capability, requirement, require_gpu)
        if reason is not None:
            return reason
    return None


def all_failures(
    capability: CapabilityClass, requirement: Requirement, require_gpu: bool
) -> tuple[Reason, ...]:
    """Every reason that keeps this class from the job, in check order, each once."""
    reasons = [check(capability, requirement, require_gpu) for check in CHECKS]
    return tuple(dict.fromkeys(reason for reason in reasons if reason is not None))


def _gpu(capability: CapabilityClass, _: Requirement, require_gpu: bool) -> Reason | None:
    return Reason.GPU_UNAVAILABLE if require_gpu and not capability.gpu else None


def _tenant(capability: CapabilityClass, requirement: Requirement, _: bool) -> Reason | None:
    return None if may_serve(capability, requirement) else Reason.NOT_IN_PUBLIC_POOL


def _types(capability: CapabilityClass, requirement: Requirement, _: bool) -> Reason | None:
    """Types installed, then types ready: one reason for both."""
    types = requirement.types
    if is_subset(types, capability.types_installed) and is_subset(types, capability.types_ready):
        return None
    return Reason.MODEL_NOT_AVAILABLE


def _features(capability: CapabilityClass, requirement: Requirement, _: bool) -> Reason | None:
    is_met = is_subset(requirement.features, capability.features)
    return None if is_met else Reason.FEATURE_UNSUPPORTED


def _labels(capability: CapabilityClass, requirement: Requirement, _: bool) -> Reason | None:
    for label in requirement.labels:
        if label not in capability.labels:
            return Reason.LABEL_MISMATCH
    return None


def _languages(capability: CapabilityClass, requirement: Requirement, _: bool) -> Reason | None:
    return language_failure(capability.languages, requirement)


Check = Callable[[CapabilityClass, Requirement, bool], Reason | None]

CHECKS: tuple[Check, ...] = (_gpu, _tenant, _types, _features, _labels, _languages)


def may_serve(capability: CapabilityClass, requirement: Requirement) -> bool:
    """Public node and a request that accepts public nodes, or one tenant on both sides."""
    if capability.public and requirement.accept_public:
        return True
    return capability.tenant == requirement.tenant


def is_subset(names: tuple[str, ...], of: tuple[str, ...]) -> bool:
    """Say whether every name is in `of`; a loop, because for a few names a set costs more."""
    for name in names:  # noqa: SIM110 (a generator triples the cost, and this runs per class)
        if name not in of:
            return False
    return True


def usable_types(capability: CapabilityClass) -> tuple[str, ...]:
    """The service types that count: both installed and ready."""
    return tuple(name for name in capability.types_ready if name in capability.types_installed)


def uses_semantic(capability: CapabilityClass, requirement: Requirement) -> bool:
    """What the job carries as use_semantic: semantic is ready here for both languages."""
    if "semantic" not in usable_types(capability):
        return False
    return is_semantic_for(capability.languages, requirement.src, requirement.tgt)
