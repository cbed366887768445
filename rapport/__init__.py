"""The front door: command line, project folder, the demo."""
