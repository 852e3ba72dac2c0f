"""Start the command line: `python -m benchmark`."""

from benchmark.cli.app import main

main()
