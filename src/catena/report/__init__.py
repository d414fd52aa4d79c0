"""What a run shows: its report, and the look that the report and the live page share."""
