"""Speed and calibration, each beside a named peer in one run; see README.md for how to read them."""
