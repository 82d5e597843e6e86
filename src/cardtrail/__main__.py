"""`python -m cardtrail` is `cardtrail`."""

from cardtrail.cli import main

main()
