"""A whole cluster in one process on a virtual clock: simulator, harness, invariants."""
