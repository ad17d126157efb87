"""Spans of jobs for OpenTelemetry: made of what the core tells, sent by a thread."""
