"""What a report costs: time to write, size, time until it can be used in a browser."""
