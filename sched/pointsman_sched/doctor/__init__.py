"""The doctor: looks at a host before or while a service runs there, and says what to do."""
