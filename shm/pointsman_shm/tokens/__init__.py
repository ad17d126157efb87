"""The tokens of clients: what they are, who they name, and the file in which their hashes lie."""
