"""Sessions with an order: jobs that start one after the other, results that come in turn."""
