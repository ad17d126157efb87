"""The history checker: what clients, nodes and workers wrote down, held against the promises."""
