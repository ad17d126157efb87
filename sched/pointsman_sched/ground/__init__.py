"""What is done for a service of units before its processes start, and after they have ended."""
