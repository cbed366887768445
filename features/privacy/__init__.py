"""The customer's no, kept: what may be used for what, who must not be contacted again, how a person is let go."""
