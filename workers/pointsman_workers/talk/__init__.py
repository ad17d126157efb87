"""Talk: sound and text that people say become jobs, and what comes of them is told to many."""
