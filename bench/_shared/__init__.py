"""What benches share: their table, their processes, and one worker or manager core each."""
