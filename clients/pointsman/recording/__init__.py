"""What nodes and clients write down for the history checker, when they are asked to."""
