"""The client's pure core: sessions, their requests, and the connections they travel on."""
