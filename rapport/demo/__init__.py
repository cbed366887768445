"""The whole loop on the built-in market, whose customers are simulated and whose truth is known."""
