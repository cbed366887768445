"""One file per subcommand of ``rapport``; heavy imports wait until the command runs."""
