"""Capability classes: nodes of equal capability share one number.

Numbers are append-only within a catalog: workers judge a row by the class number in its standing
word, so a number must never come to mean something else.  The table has a bound, and one owner
(a tenant, or a node without tenant) has a smaller one, so that nobody can use it up alone.
"""

import msgspec

from pointsman_shm.snapshot.records import CapabilityClass


class ClassesFull(msgspec.Struct, frozen=True):
    """No number for a new class: the whole table is full, or this owner's share of it."""

    words: str


class ClassInterner:
    """Class -> number, and back; `classes[number]` is the class."""

    def __init__(self, *, classes_max: int, per_owner_max: int, per_page: int) -> None:
        self.classes: list[CapabilityClass] = []
        self._numbers: dict[CapabilityClass, int] = {}
        self._owned: dict[str, int] = {}
        self._classes_max = classes_max
        self._per_owner_max = per_owner_max
        self._per_page = per_page

    def restore(self, classes: list[CapabilityClass]) -> None:
        """Take the table of a predecessor; shares of owners are counted anew for tenants."""
        assert not self.classes, "restore comes first"
        for number, capability in enumerate(classes):
            self.classes.append(capability)
            self._numbers.setdefault(capability, number)
            if capability.tenant:
                owner = owner_of(capability, "")
                self._owned[owner] = self._owned.get(owner, 0) + 1

    def intern(self, capability: CapabilityClass, node_id: str) -> int | ClassesFull:
        """Return the number of a class, appending it when it is new."""
        number = self._numbers.get(capability)
        if number is not None:
            return number
        owner = owner_of(capability, node_id)
        owned = self._owned.get(owner, 0)
        if len(self.classes) >= self._classes_max:
            return ClassesFull(
                f"all {self._classes_max} capability classes are in use; "
                "let nodes of one kind declare equal capabilities"
            )
        if owned >= self._per_owner_max:
            return ClassesFull(
                f"{owner} has declared {owned} different capabilities, the most that one owner may"
            )
        number = len(self.classes)
        self.classes.append(capability)
        self._numbers[capability] = number
        self._owned[owner] = owned + 1
        return number

    def page(self, first: int) -> tuple[CapabilityClass, ...]:
        """Return the classes of the page that begins with class number `first`."""
        return tuple(self.classes[first : first + self._per_page])


def owner_of(capability: CapabilityClass, node_id: str) -> str:
    """Name who answers for a class: its tenant, or the node itself when it has none."""
    return f"tenant {capability.tenant}" if capability.tenant else f"node {node_id}"
