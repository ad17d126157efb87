"""The parts of the registry: nodes, rows, classes, health, timers, marks."""
