"""Who waits and whose turn it is: the queue, its order, and what tenants may use."""
