"""Decides: customer and moment in, contact or nothing out, logged."""
