"""Many instances, one fleet: who lives, whose nodes are whose, and what all agree upon."""
