"""What operators have paused: the whole service, or pools by number."""


class Pauses:
    """Only orders write it (core/orders)."""

    def __init__(self) -> None:
        self.is_paused = False
        self.pools: dict[int, None] = {}  # bounded by those who order
