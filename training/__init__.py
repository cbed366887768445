"""Learns: response, offers and uplift; tunes, evaluates and registers them."""
