"""`python -m lekiwi_deploy.cli` is `lekiwi`."""

from lekiwi_deploy.cli.main import main

main()
