"""What starting a trial costs, warm and cold, beside other programs."""
