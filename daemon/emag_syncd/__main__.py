"""``python -m emag_syncd``, and what the command ``emag-syncd`` starts."""

from emag_syncd.cli.app import main

if __name__ == "__main__":
    main()
