"""The record of what operators have ordered."""
