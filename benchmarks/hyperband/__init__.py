"""How much stopping rules save on learning curves of real networks."""
