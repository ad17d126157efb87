"""Why: explain a job, try one without running it, ask about a node, see who covers what."""
