"""The command line: `stenosis-detection` with one module per subcommand."""
