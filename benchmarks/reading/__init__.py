"""What commands that read cost as cold processes: the report, all log lines, the trials."""
