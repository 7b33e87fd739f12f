"""What runs on our LeKiwi."""
