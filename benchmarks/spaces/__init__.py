"""What several objectives and conditional spaces bring in studies."""
