"""The dispatcher process: sessions, selection, jobs, queue, coordination."""
