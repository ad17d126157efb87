"""What operators order on the command line: drain, pause, quarantine, cancel; and the audit."""
