"""What a warm start is worth."""
