"""What runs on this host and how it fares: asked over admin sockets, shown in tables."""
