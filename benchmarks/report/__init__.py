"""The cost of a report: time to write it, its size, time until a browser can show it."""
