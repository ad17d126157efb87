"""Sessions by the thousand, what the bench asks of them, and the control beside the product."""
