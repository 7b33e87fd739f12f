"""What a robot installs the agent from: one archive per platform, made of what this server itself runs."""
