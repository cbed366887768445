"""The models, one file per algorithm, and the bundles they are kept in."""
