"""Why a job went where it went: records of decisions, replays, dry runs, coverage."""
