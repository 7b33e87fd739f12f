"""`python -m lekiwi_deploy.agent` is `lekiwi-agent`."""

from lekiwi_deploy.agent.main import main

main()
