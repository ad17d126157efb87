"""Lives of a fleet at random: people, nodes and troubles of three instances over one Redis.

The simulator plays whole processes, their networks and disks; here it is only worker cores, in
memory, and so every feature may meet every other: who speaks, in rooms and in every order; jobs
with all that a submit may ask for; nodes that fail, lie, refuse and come back as another; limits,
reloads, orders and questions; instances that stop, are cut off, die and read their journal; a Redis
that is away, or forgets.

When the sky has cleared, everybody who was promised a result has it, and nothing is held.
"""
