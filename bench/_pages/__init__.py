"""Pages of docs/ that benches write."""
