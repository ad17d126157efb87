"""Fields of mutable structs, set as quickly as those of any class with slots.

msgspec's structs have a setter of their own, which sees to it that the garbage collector looks at
an instance from when it first refers to something with references.  The interpreter calls it
through several functions, about 200 instructions a field; the setter that every class inherits it
replaces by a store into the slot, about 30.

The collector then has to look at an instance from the beginning or not at all: a struct that is
set plainly is declared with gc=False, or always has a field that is a container.
"""

from typing import TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def plainly_set(struct: type[S]) -> type[S]:
    """Decorate a struct whose fields the interpreter shall set by itself.

    msgspec gives each class its setter when it makes it, so this cannot stand in the class.  To set
    and to delete are one entry of a class: both are inherited, or neither.
    """
    type.__setattr__(struct, "__delattr__", object.__delattr__)
    type.__setattr__(struct, "__setattr__", object.__setattr__)
    return struct
