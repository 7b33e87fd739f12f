"""`python -m lekiwi_deploy.cli` is `lekiwi`."""

import sys

from lekiwi_deploy.cli.main import main

sys.exit(main())
