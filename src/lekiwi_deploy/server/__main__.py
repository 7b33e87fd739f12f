"""`python -m lekiwi_deploy.server`: what `lekiwi server` runs."""

import sys

from lekiwi_deploy.server.main import main

sys.exit(main())
