"""What it costs to keep books of trials and to run them."""
