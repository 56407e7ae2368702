"""The cost of bookkeeping and of running trials."""
