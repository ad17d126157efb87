"""The console: pages for people, behind the same port; without it the service works on."""
