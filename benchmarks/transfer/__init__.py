"""How many trials a warm start saves."""
