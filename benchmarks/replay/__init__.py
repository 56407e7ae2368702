"""How well a replay predicts what a job with other settings takes."""
