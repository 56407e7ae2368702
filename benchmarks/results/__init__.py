"""Reading results: calls, time and memory."""
