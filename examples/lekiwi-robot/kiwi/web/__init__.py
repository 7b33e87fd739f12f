"""The page with the camera. Standard library only, and little of it: it starts in the blink of an eye."""
