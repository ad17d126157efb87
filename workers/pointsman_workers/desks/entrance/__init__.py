"""Who is let in: tokens, what their holders may do, and how many sessions one may have."""
